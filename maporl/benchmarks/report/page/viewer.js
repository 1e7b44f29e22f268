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

  async draw() {
    const i = this.current;
    const columns = [i, ...this.beside().map(([other]) => other)];
    let texts;
    try {
      texts = await Promise.all(columns.map((one) => (one === null ? null : store.text(one))));
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
      one === null ? absentNode(this.partners[k - 1]) : sideNode(one, texts[k], {pattern, changes: this.changes}),
    );
    const open = byId("reader").querySelector("details.beside")?.open;
    const focused = byId("reader").contains(document.activeElement) ? document.activeElement.dataset.do : null;
    byId("reader").replaceChildren(
      toolbarNode(this, "This discussion", changesNode(), besideNode(i)),
      el("p.where", plain(question.task), el("span", ` · question ${plain(question.id)}`)),
      el("h2.hidden", `${nameOfDiscussion(i)}, question ${plain(question.id)}`),
      ...questionNode(question, texts[0], pattern).filter(Boolean),
      el(several ? "div.sides.several" : "div.sides", {}, sides),
    );
    if (open) byId("reader").querySelector("details.beside").open = true;
    if (focused) (byId("reader").querySelector(`[data-do="${focused}"]:not(:disabled)`) ?? byId("reader")).focus();
    document.title = `${nameOfDiscussion(i)} · ${plain(figures.title)}`;
  },
};
