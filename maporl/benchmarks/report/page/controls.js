// The list's rows and the controls that narrow it.

function rowNodes(i) {
  const verdict = verdictOf(index_(i, "correct"));
  return [
    sign(verdict),
    el("span.ask", el("bdi", plain(store.asked(i)))),
    el("span.who", el("span.end", "answer ", answerNodes(store.answer(i))), el("span.from", nameOfDiscussion(i))),
    marksNode(index_(i, "marks")),
  ];
}

// Rounds from left to right, agents from top to bottom: filled is right, hollow wrong.
function marksNode(marks) {
  const rounds = marks.split("/").slice(0, 6);
  const size = Math.max(...rounds.map((round) => round.length));
  const per = size > 5 ? Math.ceil(size / 4) : 1; // columns that one round takes
  const nodes = [];
  rounds.forEach((round, r) =>
    [...round].slice(0, 40).forEach((mark, a) => {
      if (mark === "-") return;
      const [x, y] =
        per > 1 ? [(r * (per + 0.5) + (a % per)) * 9 + 4, Math.floor(a / per) * 9 + 4] : [r * 9 + 4, a * 9 + 4];
      nodes.push(svg(`circle.m-${VERDICTS[mark].name}`, {cx: x, cy: y, r: 3}));
    }),
  );
  const width = Math.min(110, rounds.length * (per + (per > 1 ? 0.5 : 0)) * 9);
  const height = (per > 1 ? Math.min(4, Math.ceil(size / per)) : Math.min(size, 5)) * 9;
  return svg("svg", {class: "marks", width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"}, nodes);
}

// A menu that sets one criterion of `of`, the viewer of discussions, or of trees.
function chooseNode(of, name, label, entries, all) {
  const id = `${of.frame.id}-${name}`;
  return el(
    "div",
    el("label", {for: id}, label),
    el(
      "select",
      {id, name, onchange: (event) => of.set({[name]: event.target.value})},
      all === undefined ? null : el("option", {value: ""}, all),
      entries,
    ),
  );
}

const options = (values, show = (value) => value) => values.map((value) => el("option", {value}, plain(show(value))));

function buildFilters() {
  const distinct = (values) => [...new Set(values)];
  const withTexts = figures.cells.filter((cell) => cell.discussions > 0);
  const choose = (...given) => chooseNode(viewer, ...given);
  const labelOf = (method) => labelOfCell(withTexts.find((cell) => cell.method === method));
  const [tasks, names, seeds] = ["task", "method", "seed"].map((name) => distinct(withTexts.map((cell) => cell[name])));
  const mixed = [true, false].every((greedy) =>
    [...Array(store.size).keys()].some((i) => store.has(i, "greedy") === greedy),
  );
  const cases = Object.entries(CASES).map(([group, entries]) =>
    el(
      "optgroup",
      {label: group},
      entries.map(([word, label, about]) => el("option", {value: word, title: about}, label)),
    ),
  );
  const query = el("input", {
    type: "search",
    name: "query",
    placeholder: "Search questions and messages",
    autocomplete: "off",
    spellcheck: "false",
    oninput: debounced(220, (event) => viewer.set({query: event.target.value})),
  });
  const form = byId("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.replaceChildren(
    el("label.query", el("span.hidden", "Search questions and messages"), query),
    el(
      "div.selects",
      tasks.length > 1 ? choose("task", "Task", options(tasks), "All") : "",
      choose("method", alone() ? "When" : "Method", options(names, labelOf), "All"),
      choose("kind", "Show", cases, "All"),
      seeds.length > 1 ? choose("seed", "Seed", options(seeds), "All") : "",
      mixed && !alone() ? choose("decoding", "Decoding", options(["sampled", "greedy"]), "Both") : "",
      choose(
        "sort",
        "Order",
        Object.entries(SORTS).map(([word, [label]]) => el("option", {value: word}, label)),
      ),
    ),
    names.length > 1
      ? details(
          alone() ? "Where two moments differ" : "Where two methods differ",
          el(
            "div.selects",
            choose("other", alone() ? "The other moment" : "The other method", options(names, labelOf), "None"),
            choose(
              "relation",
              "Which",
              Object.entries(RELATIONS).map(([word, [label]]) => el("option", {value: word}, label)),
            ),
          ),
        )
      : "",
  );
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
