// The reader: filters and list on one side, the chosen discussion, and others of the same question, on the other.

const viewer = {
  frame: byId("viewer"),
  criteria: {...ANY},
  current: null, // a discussion
  partners: [], // keys of the discussions beside it, without the question: they stay when the question changes
  changes: true, // mark what changed between an agent's messages
  chosen: [], // what the filters leave
  list: null,

  start() {
    this.list = new LongList(byId("list"), {label: "Discussions", render: rowNodes, choose: (i) => this.open(i)});
    buildFilters();
    if (alone()) return this.startRun();
    const team = inOrder(
      figures.summary.filter(
        (row) =>
          row.team && !row.oracle && figures.cells.some((cell) => cell.method === row.method && cell.discussions),
      ),
    )[0];
    this.criteria.method = team?.row.method ?? "";
    showCriteria();
    return this.filter();
  },

  // Of a single run: the last validation, beside the first.
  startRun() {
    const judged = figures.cells.filter((cell) => cell.discussions);
    const moments = judged.filter((cell) => cell.split === "validation");
    const [first, last] = moments.length ? [moments[0], moments.at(-1)] : [null, judged.at(-1)];
    this.criteria.method = last?.method ?? "";
    if (first && first !== last) this.partners = [{method: first.method}];
    showCriteria();
    return this.filter();
  },

  // Reads again what there is, in a live page: discussions are only added, and the one that is read stays as it is drawn.
  async renew() {
    const key = this.current === null ? null : store.key(this.current);
    const peers = () => (key === null ? [] : store.byQuestion[index_(this.current, "question")]);
    const before = peers();
    await store.open();
    difficult = null;
    buildFilters();
    if (key === null) return alone() ? this.startRun() : this.filter();
    this.current = store.find(key);
    if (before.some((i, k) => peers()[k] !== i)) await this.draw(); // what is drawn speaks of other numbers
    showCriteria();
    const base = within(this.criteria);
    showCounts(base);
    this.chosen = sorted(ofKind(base, this.criteria.kind), this.criteria.sort);
    if (this.criteria.query.trim()) return this.find();
    this.list.show(this.chosen, this.current);
    byId("count").textContent = many(this.chosen.length, "discussion");
  },

  // Filters again; the discussion that is read stays open if it passes.
  async filter() {
    stopSearching();
    const base = within(this.criteria);
    showCounts(base);
    this.chosen = sorted(ofKind(base, this.criteria.kind), this.criteria.sort);
    this.list.holder.scrollTop = 0;
    if (this.criteria.query.trim()) await this.find();
    else {
      this.list.show(this.chosen, this.current);
      byId("count").textContent = many(this.chosen.length, "discussion");
    }
    if (!this.list.items.includes(this.current)) this.current = this.list.items[0] ?? null;
    if (this.current !== null) await this.open(this.current, {quiet: true});
    else
      byId("reader").replaceChildren(
        el(
          "p.empty",
          store.size ? "No discussion passes these filters." : "There are no discussions in these results yet.",
        ),
      );
  },

  async find() {
    const {query} = this.criteria;
    const candidates = [...this.chosen].sort((a, b) => a - b);
    const show = (found, share) => {
      this.list.show(
        this.chosen.filter((i) => found.has(i)),
        this.current,
      );
      byId("count").textContent =
        share < 1
          ? `${count(found.size)} found; searching, ${percent(share, 0)} %`
          : `${many(found.size, "discussion")} with ${plain(query)}`;
    };
    show(new Set(), 0);
    const found = await search(query, candidates, show);
    if (found) show(found, 1);
  },

  set(change) {
    Object.assign(this.criteria, change);
    if ("other" in change) this.partners = change.other ? [{method: change.other}] : [];
    return this.filter();
  },

  async open(i, {quiet = false} = {}) {
    this.current = i;
    const at = this.list.items.indexOf(i);
    if (at !== this.list.at) (this.list.show(this.list.items, i), this.list.reveal(), this.list.draw());
    if (!quiet) {
      this.frame.classList.add("reading");
      this.remember();
      if (document.activeElement !== byId("list"))
        announce(
          `${count(this.list.at + 1)} of ${count(this.list.items.length)}: ${nameOfDiscussion(i)}, ${verdictOf(index_(i, "correct")).word}`,
        );
    }
    await this.draw();
    if (!quiet) byId("reader").scrollTop = 0;
  },

  move(by) {
    this.list.move(by);
  },

  remember() {
    const place = new URLSearchParams(store.key(this.current));
    for (const partner of this.partners) place.append("with", new URLSearchParams(partner));
    history.replaceState(null, "", `#${place}`);
  },

  toggleChanges() {
    this.changes = !this.changes;
    announce(this.changes ? "Changes are marked" : "Changes are not marked");
    return this.draw();
  },

  // The other discussions beside the current one: [discussion or null, key].
  beside() {
    const peers = store.byQuestion[index_(this.current, "question")].filter((i) => i !== this.current);
    const mine = store.key(this.current);
    return this.partners.map((partner) => {
      const fits = (i) =>
        Object.entries(partner).every(([name, value]) => (store.key(i)[name] ?? "") === (value ?? ""));
      const closeness = (i) =>
        ["seed", "sample", "greedy", "seat"].filter((name) => store.key(i)[name] === mine[name]).length;
      const best = peers.filter(fits).sort((a, b) => closeness(b) - closeness(a))[0];
      return [best ?? null, partner];
    });
  },

  // What stands side by side: discussions, or keys of those that are not there; of one run in the order of time.
  columns(i) {
    const columns = [i, ...this.beside().map(([other, partner]) => other ?? partner)];
    const run = store.cell(i).run_name;
    const time = (one) => (typeof one === "number" ? index_(one, "cell") : figures.cells.findIndex((cell) => cell.method === one.method));
    const same = run && columns.every((one) => figures.cells[time(one)]?.run_name === run);
    return same ? columns.sort((a, b) => time(a) - time(b)) : columns;
  },

  async draw() {
    const i = this.current;
    const columns = this.columns(i);
    let texts;
    try {
      texts = await Promise.all(columns.map((one) => (typeof one === "number" ? store.text(one) : null)));
    } catch (error) {
      byId("reader").replaceChildren(
        el(
          "p.empty",
          `This discussion cannot be unpacked (${plain(error.message)}); is the file whole? Build it again with maporl report.`,
        ),
      );
      return;
    }
    if (i !== this.current) return; // somebody moved on meanwhile
    const pattern = patternOf(this.criteria.query);
    const question = store.question(i);
    const several = columns.length > 1;
    const sides = columns.map((one, k) =>
      typeof one !== "number" ? absentNode(one) : sideNode(one, texts[k], {pattern, changes: this.changes}),
    );
    const open = byId("reader").querySelector("details.beside")?.open;
    const focused = byId("reader").contains(document.activeElement) ? document.activeElement.dataset.do : null;
    byId("reader").replaceChildren(
      toolbarNode(this, "This discussion", changesNode(), besideNode(i)),
      el("p.where", plain(question.task), el("span", ` · question ${plain(question.id)}`)),
      el("h2.hidden", `${nameOfDiscussion(i)}, question ${plain(question.id)}`),
      ...questionNode(question, texts[columns.indexOf(i)], pattern).filter(Boolean),
      el(several ? "div.sides.several" : "div.sides", {}, sides),
    );
    if (open) byId("reader").querySelector("details.beside").open = true;
    if (focused) (byId("reader").querySelector(`[data-do="${focused}"]:not(:disabled)`) ?? byId("reader")).focus();
    document.title = `${nameOfDiscussion(i)} · ${plain(figures.title)}`;
  },
};
