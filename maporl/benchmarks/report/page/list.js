// A list box of any length: only the rows in sight exist.

const ROW = 60; // pixels, as in the style sheet

class LongList {
  // render(item) -> nodes; choose(item) when the selection moves.
  constructor(holder, {label, render, choose}) {
    Object.assign(this, {holder, render, choose, items: [], at: -1});
    this.inner = el("div.rows", {role: "presentation"});
    build(
      holder,
      {
        role: "listbox",
        tabindex: "0",
        "aria-label": label,
        onscroll: () => this.draw(),
        onkeydown: (event) => this.key(event),
      },
      [this.inner],
    );
    new ResizeObserver(() => this.draw()).observe(holder);
  }

  show(items, item = null) {
    this.items = items;
    this.at = item === null ? -1 : items.indexOf(item);
    this.inner.style.height = `${items.length * ROW}px`;
    this.draw();
  }

  draw() {
    const {scrollTop, clientHeight} = this.holder;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - 6);
    const last = Math.min(this.items.length, Math.ceil((scrollTop + clientHeight) / ROW) + 6);
    const rows = [];
    for (let k = first; k < last; k++) rows.push(this.row(k));
    if (this.at >= 0 && (this.at < first || this.at >= last)) rows.push(this.row(this.at)); // what aria-activedescendant names must exist
    this.inner.replaceChildren(...rows);
    if (this.at >= 0) this.holder.setAttribute("aria-activedescendant", this.idOf(this.at));
    else this.holder.removeAttribute("aria-activedescendant");
  }

  row(k) {
    const node = el(
      "div.row",
      {
        id: this.idOf(k),
        role: "option",
        "aria-selected": String(k === this.at),
        "aria-setsize": this.items.length,
        "aria-posinset": k + 1,
        onclick: () => this.select(k),
      },
      this.render(this.items[k]),
    );
    node.style.top = `${k * ROW}px`;
    return node;
  }

  idOf(k) {
    return `${this.holder.id}-row-${k}`;
  }

  select(k) {
    if (!this.items.length) return;
    this.at = Math.min(Math.max(k, 0), this.items.length - 1);
    this.reveal();
    this.draw();
    this.choose(this.items[this.at]);
  }

  reveal() {
    const top = this.at * ROW;
    const {scrollTop, clientHeight} = this.holder;
    if (top < scrollTop) this.holder.scrollTop = top;
    else if (top + ROW > scrollTop + clientHeight) this.holder.scrollTop = top + ROW - clientHeight;
  }

  move(by) {
    this.select(this.at < 0 ? 0 : this.at + by);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.holder.clientHeight / ROW) - 1);
    const steps = {ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity};
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.move(steps[event.key]);
  }
}
