// The viewer of trees: filters and list on one side, the chosen tree and one of its decisions on the other.

const TREE_KINDS = [
  ["paired", "with chosen and rejected", (i) => grove.of(i, "paired") > 0],
  ["none", "no discussion right", (i) => grove.of(i, "right") === 0],
  ["some", "some right, some not", (i) => grove.of(i, "right") > 0 && grove.of(i, "right") < grove.of(i, "leaves")],
  ["all", "every discussion right", (i) => grove.of(i, "right") === grove.of(i, "leaves")],
];
const TREE_ORDERS = [
  ["", "As kept", () => 0],
  ["pairs", "Most decisions with pairs", (i) => -grove.of(i, "paired")],
  ["low", "Fewest right", (i) => shareOf(i) ?? 2],
  ["high", "Most right", (i) => -(shareOf(i) ?? -1)],
];

const shareOf = (i) => (grove.of(i, "right") === null ? null : grove.of(i, "right") / grove.of(i, "leaves"));

const grove = {
  frame: byId("grove"),
  index: null, // columns; see trees.py
  pieces: null,
  list: null,
  current: null, // a tree
  node: null, // the number of a message in it
  picked: false, // somebody asked for that message: on a small screen its decision takes room only then
  open: new Set(), // the numbers of messages whose answers show
  criteria: {run: "", record: "", kind: "", order: ""},

  of(i, column) {
    return this.index[column][i];
  },

  start() {
    this.list = new LongList(byId("tree-list"), {label: "Trees", render: treeRow, choose: (i) => this.show(i)});
    return this.renew();
  },

  // Reads what there is, again in a live page: trees are only added.
  async renew() {
    this.index = await unpack("trees-index");
    this.pieces = new Pieces("trees", this.index.starts);
    if (!this.index.run.length)
      return byId("tree-reader").replaceChildren(el("p.empty", "There are no trees in these results."));
    const {runs, records} = this.index;
    const menu = (entries) => entries.map(([word, label]) => el("option", {value: word}, label));
    const numbered = (names) => names.map((name, k) => el("option", {value: k}, plain(name)));
    byId("tree-filters").replaceChildren(
      el(
        "div.selects",
        runs.length > 1 ? chooseNode(this, "run", "Run", numbered(runs), "All") : "",
        records.length > 1 ? chooseNode(this, "record", "Kept in", numbered(records), "All") : "",
        chooseNode(this, "kind", "Show", menu(TREE_KINDS), "All"),
        chooseNode(this, "order", "Order", menu(TREE_ORDERS)),
      ),
    );
    return this.filter();
  },

  set(change) {
    Object.assign(this.criteria, change);
    return this.filter();
  },

  filter() {
    const {run, record, kind, order} = this.criteria;
    const passes = TREE_KINDS.find(([word]) => word === kind)?.[2] ?? (() => true);
    const [, , rank] = TREE_ORDERS.find(([word]) => word === order);
    const kept = (i, name, wanted) => wanted === "" || wanted === String(this.of(i, name));
    const items = [...this.index.run.keys()].filter(
      (i) => kept(i, "run", run) && kept(i, "record", record) && passes(i),
    );
    items.sort((a, b) => rank(a) - rank(b) || a - b);
    byId("tree-count").textContent = many(items.length, "tree");
    this.list.show(items, this.current);
    const next = items.includes(this.current) ? this.current : items[0];
    if (next === undefined) byId("tree-reader").replaceChildren(el("p.empty", "No tree passes these filters."));
    else if (next !== this.current || !this.frame.querySelector(".grown")) return this.show(next, {quiet: true});
  },

  move(by) {
    this.list.move(by);
  },

  // What names a tree in a link, also in another build of the page.
  key(i) {
    const {runs, records, run, record, number} = this.index;
    return {tree: String(number[i]), of: records[record[i]], run: runs[run[i]]};
  },

  remember() {
    const at = this.tree?.nodes[this.node]?.branch.join(".") ?? "";
    history.replaceState(null, "", `#${new URLSearchParams({...this.key(this.current), at})}`);
  },

  async follow(place) {
    if (!this.list || !place.has("tree")) return this.list?.draw();
    const wanted = ["tree", "of", "run"].map((name) => (place.get(name) ?? "").toWellFormed());
    const found = [...this.index.run.keys()].find((i) => {
      const key = this.key(i);
      return [key.tree, key.of, key.run].every((value, k) => value.toWellFormed() === wanted[k]);
    });
    if (found === undefined)
      return byId("tree-reader").replaceChildren(el("p.empty", "The tree of this link is not in this file."));
    await this.show(found, {quiet: true, at: place.get("at")});
    this.frame.classList.add("reading");
  },

  async show(i, {quiet = false, at = ""} = {}) {
    this.current = i;
    const row = this.list.items.indexOf(i);
    if (row !== this.list.at) (this.list.show(this.list.items, i), this.list.reveal(), this.list.draw());
    let text;
    try {
      text = await this.pieces.text(i);
    } catch (error) {
      const why = `This tree cannot be unpacked (${plain(error.message)}); is the file whole?`;
      return byId("tree-reader").replaceChildren(el("p.empty", `${why} Build it again with maporl report.`));
    }
    if (i !== this.current) return; // somebody moved on meanwhile
    this.tree = treeOf(text, this.of(i, "number"));
    this.open = openedAtFirst(this.tree);
    const asked = this.tree.nodes.find((node) => node.branch.join(".") === at);
    this.picked = asked !== undefined;
    this.node = asked?.number ?? this.firstPair();
    this.reveal(this.node);
    this.draw();
    if (quiet) return;
    this.frame.classList.add("reading");
    byId("tree-reader").scrollTop = 0;
    this.remember();
    announce(`${count(row + 1)} of ${count(this.list.items.length)}: tree ${this.of(i, "number")}, ${outcomeWords(i)}`);
  },

  // Where a tree is looked at first: the first message that is chosen over another.
  firstPair() {
    return (this.tree.nodes.find((node) => node.marks.includes("chosen")) ?? this.tree.nodes[0]).number;
  },

  draw() {
    const i = this.current;
    const [id, asked, gold] = this.index.questions[this.of(i, "question")];
    const tools = [
      toolNode("unfold", "Show every message", "Open all", () => this.unfold(new Set(this.tree.nodes.keys()))),
      toolNode("fold", "Show the first level alone", "Fold all", () => this.unfold(new Set())),
    ];
    const focused = this.frame.contains(document.activeElement) ? document.activeElement.dataset.do : null;
    byId("tree-reader").replaceChildren(
      toolbarNode(this, "This tree", tools),
      el("p.where", plain(`${this.key(i).run} · ${this.key(i).of} · tree ${this.key(i).tree} · question ${id}`)),
      el("h2.hidden", `Tree ${this.of(i, "number")}, question ${plain(id)}`),
      ...questionNode({text: asked, gold}, this.tree, null).filter(Boolean),
      el("p.grown", outcomeWords(i)),
      drawingNode(this.tree),
      el(
        "p.note",
        "▲ chosen, ▼ rejected: worth more than .5, against a sibling that is not. Values from 0 (red) to 1 (green) are the ",
        "mean of what follows. ✓, and full green above, is a discussion that the team gets right.",
      ),
      el(
        this.picked ? "div.halves.picked" : "div.halves",
        {},
        el("div.tree", {role: "tree", "aria-label": "Messages", onkeydown: (event) => this.pressed(event)}),
        el("div.decisions", {tabindex: "0", role: "region", "aria-label": "The decision of the chosen message"}),
      ),
    );
    this.lines();
    this.decide();
    const same = focused && byId("tree-reader").querySelector(`[data-do="${focused}"]:not(:disabled)`);
    if (focused) (same ?? byId("tree-reader")).focus();
    document.title = `Tree ${this.of(i, "number")} · ${plain(figures.title)}`;
  },

  lines() {
    const holder = this.frame.querySelector("[role=tree]");
    const lines = linesOf(this.tree, this.open);
    holder.style.setProperty("--levels", Math.max(...lines.map((line) => line.level)));
    holder.replaceChildren(...lines.map((line) => lineNode(this.tree, line, {open: this.open, current: this.node})));
    if (!holder.querySelector("[tabindex='0']")) holder.firstElementChild?.setAttribute("tabindex", "0");
  },

  decide() {
    const {parent} = this.tree.nodes[this.node];
    const agents = new Set(this.tree.under(parent).flatMap((node) => node.said.map((turn) => turn.agent)));
    const unjudged = (agent) => ({parent, agent, prompt: [], pairs: 0}); // nobody said what any candidate is worth
    const here = [...agents].map(
      (agent) => this.tree.decisions.find((one) => one.parent === parent && one.agent === agent) ?? unjudged(agent),
    );
    const holder = this.frame.querySelector(".decisions");
    const prompt = holder.querySelector("details")?.open; // it stays open, or not
    holder.replaceChildren(...here.map((decision) => decisionNode(this.tree, decision, this.node)));
    for (const details of holder.querySelectorAll("details")) details.open = prompt ?? false;
    const card = holder.querySelector(".card.here");
    const below = card && card.offsetTop + card.offsetHeight > holder.clientHeight;
    holder.scrollTop = below ? card.offsetTop - 8 : 0;
    markBlock(this.frame, this.node);
  },

  line(number) {
    const {nodes, under} = this.tree;
    const [first] = alike(under(nodes[number].parent)).find((equal) => equal.includes(nodes[number]));
    return this.frame.querySelector(`.branch[data-node="${first.number}"]`);
  },

  // Opens everything above a message.
  reveal(number) {
    for (let k = this.tree.nodes[number].parent; k >= 0; k = this.tree.nodes[k].parent) this.open.add(k);
  },

  select(number) {
    this.node = number;
    this.picked = true;
    this.frame.querySelector(".halves").classList.add("picked");
    this.reveal(number);
    this.lines();
    this.decide();
    this.line(number).focus();
    this.remember();
  },

  fold(number) {
    if (this.open.has(number)) this.open.delete(number);
    else this.open.add(number);
    this.lines();
    this.line(number).focus();
  },

  unfold(open) {
    this.open = open;
    this.lines();
  },

  // The keys of a tree: up and down, right opens or goes in, left closes or goes out.
  pressed(event) {
    const at = event.target.closest(".branch");
    if (!at || event.ctrlKey || event.metaKey || event.altKey) return;
    const number = Number(at.dataset.node);
    const node = this.tree.nodes[number];
    const all = [...this.frame.querySelectorAll(".branch")];
    const go = (line) => line && this.select(Number(line.dataset.node));
    const act = {
      ArrowDown: () => go(all[all.indexOf(at) + 1]),
      ArrowUp: () => go(all[all.indexOf(at) - 1]),
      ArrowRight: () =>
        node.children.length && (this.open.has(number) ? go(all[all.indexOf(at) + 1]) : this.fold(number)),
      ArrowLeft: () => (this.open.has(number) ? this.fold(number) : node.parent >= 0 && this.select(node.parent)),
      Home: () => go(all[0]),
      End: () => go(all.at(-1)),
      Enter: () => go(at),
      " ": () => go(at),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  },
};

function outcomeWords(i) {
  const of = (name) => grove.of(i, name);
  const right = known(of("right")) ? `${figure(of("right"), 1)} of ` : "";
  return [
    `${count(of("messages"))} messages`,
    `${right}${count(of("leaves"))} discussions${right ? ` right (${percent(shareOf(i), 0)} %)` : ", not judged"}`,
    `chosen and rejected at ${count(of("paired"))} of ${many(of("compared"), "decision")}`,
  ].join(" · ");
}

function treeRow(i) {
  const [id, asked] = grove.index.questions[grove.of(i, "question")];
  const {run, of, tree} = grove.key(i);
  const {records, runs} = grove.index;
  const where = [`tree ${tree}`, ...(records.length > 1 ? [of] : []), ...(runs.length > 1 ? [run] : [])];
  return [
    el("span.sign", {"aria-hidden": "true"}, grove.of(i, "paired") ? "▲" : ""),
    el("span.ask", el("bdi", plain(asked.slice(0, 160)))),
    el("span.who", `pairs at ${grove.of(i, "paired")}/${grove.of(i, "compared")} · ${plain(where.join(" · "))}`),
    heated(
      el("span.marks.value", shareOf(i) === null ? "–" : `${percent(shareOf(i), 0)} %`, el("span.hidden", " right")),
      shareOf(i),
    ),
  ];
}
