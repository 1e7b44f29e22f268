// The view of a single run: how it stands, its curves, its evaluations in the order of time, what changed, and its settings.

const plainRuns = () => figures.runs ?? [];

// Nothing but one run: what tells its files apart is when they were written, not of which run they are.
const alone = () => plainRuns().length === 1 && figures.cells.every((cell) => cell.run_name);

const labelOfCell = (cell) => (alone() && cell.run_name ? cell.label.slice(cell.run_name.length + 2) : cell.label);

function runNode(run, number) {
  const heading = alone() ? el("h2.hidden", "The run") : el("h2", plain(run.name), el("span.sub", "run"));
  return el(
    "section.task.run",
    {id: `run-${number}`, "aria-label": `Run ${plain(run.name)}`},
    heading,
    standingNode(run),
    endsNode(run),
    curvesNode(run),
    evaluationsNode(run),
    changesOfRun(run),
    samplesNode(run),
    runCollaboration(run),
    settingsOfRun(run),
  );
}

function standingNode(run) {
  const badge = el(`span.badge.${plain(run.status)}`, plain(run.status));
  const facts = [
    `${plain(run.algorithm)} on ${plain(run.task)}`,
    `iteration ${count(run.done)} of ${count(run.iterations)}`,
    `seed ${run.seed}`,
    run.seconds ? `${duration(run.seconds)} of sampling and updates` : "",
  ].filter(Boolean);
  return el("p.standing", badge, " ", facts.join(" · "));
}

// Before, after and test: what a reader asks first.
function endsNode(run) {
  const judged = run.evaluations.filter((one) => one.split === "validation");
  const test = run.evaluations.find((one) => one.split === "test");
  const when = (one) => (one.iteration ? `after iteration ${count(one.iteration)}` : "before training");
  const shown = [
    ...judged.slice(0, 1).map((one) => [`Validation, ${when(one)}`, one]),
    ...judged
      .slice(1)
      .slice(-1)
      .map((one) => [`Validation, ${when(one)}`, one]),
    ...(test ? [["Test", test]] : []),
  ];
  if (!shown.length) return el("p.empty", "Nothing has been evaluated yet.");
  const tile = ([name, one]) =>
    el(
      "div",
      el("dt", name),
      el(
        "dd",
        el("strong", `${percent(one.accuracy)} %`),
        el("span.sub", `${range(one.low, one.high, percent)} · ${many(one.questions, "question")}`),
        one.gain ? gainNode(one.gain) : null,
      ),
    );
  return el("dl.ends", {"aria-label": "The team's accuracy, with 95 % intervals"}, shown.map(tile));
}

function gainNode({difference, low, high}) {
  const kind = low > 0 ? "better" : high < 0 ? "worse" : "same";
  return el(
    `span.said.${kind}`,
    {title: "Against the first validation, paired by question; 95 % interval"},
    `${points(difference)} (${range(low, high, points)})`,
  );
}

function curvesNode(run) {
  if (!run.curves.length && !run.more_curves.length) return null;
  const small = (one) => plotOf(one, null, 200);
  const constant = Object.entries(run.constants);
  return el(
    "section",
    el("h3", "Learning curves"),
    el("div.plots.small", run.curves.map(small)),
    run.more_curves.length
      ? details(many(run.more_curves.length, "more curve"), el("div.plots.small", run.more_curves.map(small)))
      : null,
    constant.length
      ? details(
          `${many(constant.length, "metric")} that did not change`,
          el(
            "ul.constants",
            constant.map(([name, value]) => el("li", plain(name), " ", el("b", sized(value)))),
          ),
        )
      : null,
  );
}

function evaluationsNode(run) {
  if (!run.evaluations.length) return null;
  const rounds = Math.max(...run.evaluations.map((one) => one.rounds.length));
  const gains = run.evaluations.some((one) => one.gain);
  const heads = ["Iteration", "Split", "Team, %", ...Array.from({length: rounds}, (_, r) => `Round ${r + 1}, %`)];
  if (gains) heads.push("Against the first");
  const share = (one) =>
    one ? [el("strong", percent(one.accuracy)), el("span.sub", range(one.low, one.high, percent))] : "–";
  const cells = (one) => [
    [
      one.split === "other" ? plain(one.name) : one.split,
      el("span.sub", many(one.questions, "question"), one.greedy ? "" : ", sampled"),
    ],
    share(one),
    ...Array.from({length: rounds}, (_, r) => share(one.rounds[r])),
    ...(gains ? [one.gain ? gainNode(one.gain) : ""] : []),
  ];
  // Roles, and the name of the column with every cell, for phones, where a row is no line.
  const line = (one) =>
    el(
      "tr",
      {role: "row"},
      el(
        "th",
        {scope: "row", role: "rowheader", "data-name": heads[0]},
        el("a", {href: listLink(one.cell)}, one.iteration === null ? plain(one.name) : count(one.iteration)),
      ),
      cells(one).map((content, k) => el(k ? "td.number" : "td", {role: "cell", "data-name": heads[k + 1]}, content)),
    );
  const table = el(
    "table.evaluations",
    {role: "table"},
    el("caption.hidden", `Evaluations of ${plain(run.name)} in the order of time`),
    el(
      "thead",
      el(
        "tr",
        heads.map((name, k) => el(k < 2 ? "th" : "th.number", {scope: "col"}, name)),
      ),
    ),
    el("tbody", run.evaluations.map(line)),
  );
  return el(
    "section",
    el("h3", "Evaluations"),
    el("p.note", "In the order of time, with 95 % intervals over questions. By round: the share of right messages."),
    scrolling(`Evaluations of ${plain(run.name)}`, table),
  );
}

const listLink = (number, more = {}) => {
  const {task, method} = figures.cells[number];
  return `#${new URLSearchParams({list: "1", task, method, ...more})}`;
};

// The questions of the first validation at the last one: those that changed side by side, then and now.
function changesOfRun(run) {
  const change = run.changes;
  if (!change) return null;
  const {method: other} = figures.cells[change.first];
  const [before, after] = [change.first, change.last].map((k) => labelOfCell(figures.cells[k]));
  const link = (relation) => listLink(change.last, {other, relation});
  const row = (words, number, relation) =>
    el("li", el("strong", count(number)), " ", relation && number ? el("a", {href: link(relation)}, words) : words);
  return el(
    "section",
    el("h3", "What changed"),
    el(
      "p.note",
      `The same ${many(change.questions, "question")}, ${plain(before)} and ${plain(after)}; a link shows both discussions side by side.`,
    ),
    el(
      "ul.changes",
      row("not right before, right now", change.wrong_right, "better"),
      row("right before, not right now", change.right_wrong, "worse"),
      row("right both times", change.right_right, null),
      row("right neither time", change.wrong_wrong, null),
    ),
  );
}

function samplesNode(run) {
  if (!run.samples.length) return null;
  const link = ({cell, iteration, discussions}) =>
    el(
      "li",
      el(
        "a",
        {href: listLink(cell)},
        iteration === null ? plain(labelOfCell(figures.cells[cell])) : `Iteration ${count(iteration)}`,
      ),
      el("span.sub", many(discussions, "discussion")),
    );
  return el(
    "section",
    el("h3", "What it learned from"),
    el("p.note", "Discussions sampled while training that were kept, with rewards, advantages and tokens."),
    el("ul.samples", run.samples.map(link)),
  );
}

function runCollaboration(run) {
  const judged = figures.collaboration.filter((one) => one.run === run.name && one.split === "validation");
  const ends = new Set([judged[0], judged.at(-1)]);
  const mine = (one) => one.run === run.name && (one.split === "test" || ends.has(one));
  if (!alone() || !figures.collaboration.some(mine)) return null;
  return details("How the agents work together", collaborationTable(run.task, mine), flipMatrices(run.task, mine));
}

function settingsOfRun(run) {
  const {chosen, usual, defaults, prompts} = run.settings;
  const usually = (name) =>
    ![null, undefined, ""].includes(defaults[name]) ? el("span.sub", "default ", settingNode(defaults[name])) : null;
  const list = (entries) =>
    el(
      "dl.settings.wide",
      Object.entries(entries).map(([name, value]) =>
        el("div", el("dt", plain(name)), el("dd", settingNode(value), usually(name))),
      ),
    );
  const {versions = {}, ...machine} = run.machine;
  const made = {...machine, ...versions};
  return el(
    "section",
    el("h3", "Settings"),
    list(chosen),
    details(`${many(Object.keys(usual).length, "setting")} at the default`, list(usual)),
    prompts ? details("Prompts", list(typeof prompts === "object" ? prompts : {prompts})) : null,
    Object.keys(made).length ? [el("h3", "Machine and versions"), list(made)] : null,
  );
}
