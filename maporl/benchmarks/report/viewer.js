// The reader: filters and list on one side, the chosen discussion, and others of the same question, on the other.

const viewer = {
  criteria: {...ANY},
  current: null, // a discussion
  partners: [], // keys of the discussions beside it, without the question: they stay when the question changes
  changes: true, // mark what changed between an agent's messages
  chosen: [], // what the filters leave
  list: null,

  start() {
    this.list = new LongList(byId("list"), {label: "Discussions", render: rowNodes, choose: (i) => this.open(i)});
    buildFilters();
    const team = inOrder(figures.summary.filter((row) => row.team && !row.oracle && figures.cells.some((cell) => cell.method === row.method && cell.discussions)))[0];
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
    else byId("reader").replaceChildren(el("p.empty", {}, store.size ? "No discussion passes these filters." : "There are no discussions in these results yet."));
  },

  async find() {
    const {query} = this.criteria;
    const candidates = [...this.chosen].sort((a, b) => a - b);
    const show = (found, share) => {
      this.list.show(this.chosen.filter((i) => found.has(i)), this.current);
      byId("count").textContent = share < 1 ? `${count(found.size)} found; searching, ${percent(share, 0)} %` : `${many(found.size, "discussion")} with ${plain(query)}`;
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
    if (at !== this.list.at) this.list.show(this.list.items, i), this.list.reveal(), this.list.draw();
    if (!quiet) {
      byId("viewer").classList.add("reading");
      rememberPlace();
      if (document.activeElement !== byId("list")) announce(`${count(this.list.at + 1)} of ${count(this.list.items.length)}: ${nameOfDiscussion(i)}, ${verdictOf(index_(i, "correct")).word}`);
    }
    await this.draw();
    if (!quiet) byId("reader").scrollTop = 0;
  },

  move(by) {
    this.list.move(by);
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
      const fits = (i) => Object.entries(partner).every(([name, value]) => (store.key(i)[name] ?? "") === (value ?? ""));
      const closeness = (i) => ["seed", "sample", "greedy", "seat"].filter((name) => store.key(i)[name] === mine[name]).length;
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
      byId("reader").replaceChildren(el("p.empty", {}, `This discussion cannot be unpacked (${plain(error.message)}); is the file whole? Build it again with maporl report.`));
      return;
    }
    if (i !== this.current) return; // somebody moved on meanwhile
    const pattern = patternOf(this.criteria.query);
    const question = store.question(i);
    const several = columns.length > 1;
    const sides = columns.map((one, k) => (one === null ? absentNode(this.partners[k - 1]) : sideNode(one, texts[k], {pattern, changes: this.changes})));
    const open = byId("reader").querySelector("details.beside")?.open;
    const focused = byId("reader").contains(document.activeElement) ? document.activeElement.dataset.do : null;
    byId("reader").replaceChildren(
      toolbarNode(),
      el("p.where", {}, plain(question.task), el("span", {}, ` · question ${plain(question.id)}`)),
      el("h2.hidden", {}, `${nameOfDiscussion(i)}, question ${plain(question.id)}`),
      ...questionNode(question, texts[0], pattern).filter(Boolean),
      el(several ? "div.sides.several" : "div.sides", {}, sides));
    if (open) byId("reader").querySelector("details.beside").open = true;
    if (focused) (byId("reader").querySelector(`[data-do="${focused}"]:not(:disabled)`) ?? byId("reader")).focus();
    document.title = `${nameOfDiscussion(i)} · ${plain(figures.title)}`;
  },
};

function absentNode(partner) {
  const label = figures.cells.find((cell) => cell.method === partner.method)?.label ?? partner.method;
  return el("section.one", {}, el("p.empty", {}, `${plain(label)}${partner.seed === undefined ? "" : `, seed ${partner.seed}`} did not discuss this question.`));
}

function sideNode(i, text, options) {
  const verdict = verdictOf(index_(i, "correct"));
  return el(`section.one.${verdict.name}`, {},
    el("header.outcome", {},
      el("h3", {}, nameOfDiscussion(i)),
      el("p", {}, sign(verdict), el("b", {}, answerNodes(text.answer)), el("span.sub", {}, verdict.word, text.tied > 1 ? `, ${text.tied} answers tied` : "", ` · ${many(index_(i, "tokens"), "token")}`)),
      ["oracle", "overflow"].filter((flag) => store.has(i, flag)).map((flag) => el(`span.badge.${flag}`, {title: CASE.get(flag).about}, flag))),
    discussionNode(text, options));
}

function toolbarNode() {
  const {list, current} = viewer;
  const button = (name, label, onclick, more = {}) => el("button", {type: "button", title: name, onclick, ...more}, label);
  const place = list.at >= 0 ? `${count(list.at + 1)} of ${count(list.items.length)}` : "not in the list";
  return el("div.toolbar", {role: "toolbar", "aria-label": "This discussion"},
    el("button.back", {type: "button", onclick: () => backToList()}, "‹ List"),
    button("Previous (k)", [el("span", {"aria-hidden": "true"}, "↑"), el("span.hidden", {}, "Previous")], () => viewer.move(-1), {disabled: list.at === 0, "data-do": "previous"}),
    button("Next (j)", [el("span", {"aria-hidden": "true"}, "↓"), el("span.hidden", {}, "Next")], () => viewer.move(1), {disabled: list.at === list.items.length - 1, "data-do": "next"}),
    el("span.place", {}, place),
    button("Mark what changed between an agent's messages (c)", "Changes", () => viewer.toggleChanges(), {"aria-pressed": String(viewer.changes), "data-do": "changes"}),
    besideNode(current),
    button("Copy a link to this discussion within this file", "Copy link", copyLink, {"data-do": "link"}));
}

// The menu of all other discussions of the same question.
function besideNode(current) {
  const peers = store.byQuestion[index_(current, "question")].filter((i) => i !== current);
  if (!peers.length) return null;
  const shown = viewer.beside().map(([i]) => i);
  const toggle = (i, on) => {
    const {task, question, ...key} = store.key(i);
    const rest = viewer.beside().filter(([other]) => other !== i).map(([, partner]) => partner);
    viewer.partners = on ? [...rest, key] : rest;
    rememberPlace();
    viewer.draw();
  };
  const item = (i) => el("li", {}, el("label", {}, el("input", {type: "checkbox", "data-do": `beside-${i}`, checked: shown.includes(i), onchange: (event) => toggle(i, event.target.checked)}), sign(verdictOf(index_(i, "correct"))), el("span", {}, nameOfDiscussion(i)), el("span.sub", {}, answerNodes(store.answer(i)))));
  return el("details.beside", {}, el("summary", {"data-do": "beside"}, "Side by side", shown.length ? ` (${shown.length})` : ""), el("ul", {"aria-label": "Discussions of the same question"}, peers.map(item)));
}

function backToList() {
  byId("viewer").classList.remove("reading");
  byId("list").focus();
}

async function copyLink() {
  rememberPlace();
  try {
    await navigator.clipboard.writeText(location.href);
    announce("Link copied");
    byId("reader").querySelector("[data-do=link]").textContent = "Copied";
  } catch {
    announce("The link is in the address bar");
    byId("reader").querySelector("[data-do=link]").textContent = "See the address bar";
  }
}

function rowNodes(i) {
  const verdict = verdictOf(index_(i, "correct"));
  return [sign(verdict),
    el("span.ask", {}, el("bdi", {}, plain(store.question(i).text.slice(0, 160)))),
    el("span.who", {}, nameOfDiscussion(i), " · answer ", answerNodes(store.answer(i))),
    marksNode(index_(i, "marks"))];
}

// Rounds from left to right, agents from top to bottom: filled is right, hollow wrong.
function marksNode(marks) {
  const rounds = marks.split("/").slice(0, 6);
  const size = Math.max(...rounds.map((round) => round.length));
  const per = size > 5 ? Math.ceil(size / 4) : 1; // columns that one round takes
  const nodes = [];
  rounds.forEach((round, r) => [...round].slice(0, 40).forEach((mark, a) => {
    if (mark === "-") return;
    const [x, y] = per > 1 ? [(r * (per + 0.5) + (a % per)) * 9 + 4, Math.floor(a / per) * 9 + 4] : [r * 9 + 4, a * 9 + 4];
    nodes.push(svg(`circle.m-${VERDICTS[mark].name}`, {cx: x, cy: y, r: 3}));
  }));
  const width = Math.min(110, rounds.length * (per + (per > 1 ? 0.5 : 0)) * 9);
  const height = (per > 1 ? Math.min(4, Math.ceil(size / per)) : Math.min(size, 5)) * 9;
  return svg("svg", {class: "marks", width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"}, nodes);
}

function buildFilters() {
  const distinct = (values) => [...new Set(values)];
  const withTexts = figures.cells.filter((cell) => cell.discussions > 0);
  const choose = (name, label, entries, all) => el("div", {}, el("label", {for: `by-${name}`}, label), el("select", {id: `by-${name}`, name, onchange: (event) => viewer.set({[name]: event.target.value})}, all === undefined ? null : el("option", {value: ""}, all), entries));
  const options = (values, show = (value) => value) => values.map((value) => el("option", {value}, plain(show(value))));
  const labelOf = (method) => withTexts.find((cell) => cell.method === method).label;
  const [tasks, names, seeds] = ["task", "method", "seed"].map((name) => distinct(withTexts.map((cell) => cell[name])));
  const mixed = [true, false].every((greedy) => [...Array(store.size).keys()].some((i) => store.has(i, "greedy") === greedy));
  const cases = Object.entries(CASES).map(([group, entries]) => el("optgroup", {label: group}, entries.map(([word, label, about]) => el("option", {value: word, title: about}, label))));
  const query = el("input", {type: "search", name: "query", placeholder: "Search questions and messages", autocomplete: "off", spellcheck: "false", oninput: debounced(220, (event) => viewer.set({query: event.target.value}))});
  const form = byId("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.replaceChildren(
    el("label.query", {}, el("span.hidden", {}, "Search questions and messages"), query),
    el("div.selects", {},
      tasks.length > 1 ? choose("task", "Task", options(tasks), "All") : "",
      choose("method", "Method", options(names, labelOf), "All"),
      choose("kind", "Show", cases, "All"),
      seeds.length > 1 ? choose("seed", "Seed", options(seeds), "All") : "",
      mixed ? choose("decoding", "Decoding", options(["sampled", "greedy"]), "Both") : "",
      choose("sort", "Order", Object.entries(SORTS).map(([word, [label]]) => el("option", {value: word}, label)))),
    names.length > 1 ? details("Where two methods differ", el("div.selects", {},
      choose("other", "The other method", options(names, labelOf), "None"),
      choose("relation", "Which", Object.entries(RELATIONS).map(([word, [label]]) => el("option", {value: word}, label))))) : "");
}

// How many discussions each case has, within the other filters.
function showCounts(base) {
  const counts = countsOf(base);
  for (const option of byId("filters").elements.kind.options) {
    const found = CASE.get(option.value);
    option.textContent = found ? `${found.label} (${count(counts.get(option.value))})` : `All (${count(base.length)})`;
  }
}

// The filters' controls say what the criteria are.
function showCriteria() {
  for (const [name, value] of Object.entries(viewer.criteria)) {
    const control = byId("filters").elements[name];
    if (control) control.value = value;
  }
}
