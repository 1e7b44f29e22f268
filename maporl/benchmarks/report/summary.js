// The table of all methods of a task: sorted sensibly, votes under their teams, oracles apart.

// Teams by accuracy with their votes right under them, then everybody else; oracles apart.
function inOrder(rows) {
  const best = [...rows].sort((a, b) => (b.accuracy ?? -1) - (a.accuracy ?? -1));
  const placed = new Set();
  const ordered = [];
  const place = (row, under) => {
    if (placed.has(row)) return;
    placed.add(row);
    ordered.push({row, under});
  };
  for (const team of best.filter((row) => row.team)) {
    place(team, false);
    const votes = rows.filter((row) => (row.matched ?? []).some(([method]) => method === team.method));
    votes.sort((a, b) => a.completion_tokens - b.completion_tokens).forEach((row) => place(row, true));
  }
  best.forEach((row) => place(row, false));
  return ordered;
}

const ALL_COLUMNS = [
  {name: "Method", value: (row) => row.label, text: true, show: methodCell},
  {name: "Accuracy, %", value: (row) => row.accuracy, show: accuracyCell, plotted: true},
  {name: "Each seed", value: (row) => Math.max(...(row.seeds ?? []).map((one) => one.accuracy), -1), show: seedsCell},
  {name: "Against its vote", value: (row) => fairOf(row)[0]?.difference, show: voteCell},
  {name: "Greedy", value: (row) => row.greedy, show: (row) => percent(row.greedy)},
  {name: "Parsed", value: (row) => row.parse_rate, show: (row) => percent(row.parse_rate)},
  {name: "Tokens a question", value: (row) => row.completion_tokens, show: tokensCell},
  {name: "Time", value: (row) => (row.eval_s ?? 0) + (row.train_s ?? 0), show: timeCell},
];

function fairOf(row) {
  return fairComparisons(row.task).filter((one) => one.method === row.method);
}

function methodCell(row) {
  const badge = (name, title) => el(`span.badge.${name}`, {title}, name);
  const link = el(
    "a",
    {href: `#${new URLSearchParams({list: "1", task: row.task, method: row.method})}`},
    plain(row.label),
  );
  return [
    link,
    " ",
    row.team ? badge("team", "More than one agent discusses") : null,
    row.trained ? badge("trained", "Something was trained for it") : null,
    row.oracle
      ? badge("oracle", "A verifier that knows the gold answer chose the answer: an upper bound, no baseline")
      : null,
  ];
}

function accuracyCell(row, domain) {
  if (!known(row.accuracy)) return el("span.sub", "no answers yet");
  const best =
    known(row.best_seat) && Math.abs(row.best_seat - row.accuracy) > 5e-4
      ? el("span.sub", `best seat ${percent(row.best_seat)}`)
      : null;
  return el(
    "div.accuracy",
    el("span", el("strong", percent(row.accuracy)), el("span.sub", range(row.low, row.high, percent)), best),
    accuracyStrip(row, domain),
  );
}

function accuracyStrip(row, [low, high]) {
  const x = linear(low, high, 5, 135);
  const nodes = [svg("line.rail", {x1: 5, x2: 135, y1: 12, y2: 12})];
  if (known(row.low)) nodes.push(svg("line.interval", {x1: x(row.low), x2: x(row.high), y1: 12, y2: 12}));
  for (const seed of row.seeds ?? [])
    if (known(seed.accuracy)) nodes.push(svg("line.seed", {x1: x(seed.accuracy), x2: x(seed.accuracy), y1: 6, y2: 18}));
  nodes.push(mark(row.method, x(row.accuracy), 12, 4.5, {hollow: row.oracle}));
  return svg("svg", {viewBox: "0 0 140 24", class: "strip", "aria-hidden": "true"}, nodes);
}

function seedsCell(row) {
  const failed = (row.failed ?? []).map((one) =>
    el("span.failed", {title: plain(one.reason)}, `seed ${one.seed} failed`),
  );
  const each = (row.seeds ?? []).map((one) => el("span", {title: `seed ${one.seed}`}, percent(one.accuracy)));
  const across = range(row.seeds_low, row.seeds_high, percent);
  return [
    el("span.seeds", each, failed),
    across
      ? el("span.sub", {title: "t interval across seeds; assumes that seeds are normally distributed"}, `t: ${across}`)
      : null,
  ];
}

function voteCell(row) {
  return fairOf(row).map((one) =>
    el(
      "div.against",
      el("strong", points(one.difference)),
      ` ${range(one.low, one.high, points)}`,
      el(
        "span.sub",
        `${plain(one.vote.label)}: ${percent(one.vote.accuracy)}; p\u00a0${probability(one.p_holm ?? one.p)}`,
      ),
    ),
  );
}

function tokensCell(row) {
  return [
    count(row.completion_tokens),
    el("span.sub", known(row.prompt_tokens) ? `+ ${count(row.prompt_tokens)} read` : ""),
  ];
}

function timeCell(row) {
  return [duration(row.eval_s), row.train_s ? el("span.sub", `trained ${duration(row.train_s)}`) : null];
}

function summaryTable(task, rows) {
  const domain = around(
    rows.flatMap((row) => [row.low, row.high, row.accuracy, ...(row.seeds ?? []).map((one) => one.accuracy)]),
    {share: true, least: 0.1},
  );
  const has = {"Against its vote": (row) => fairOf(row).length, Greedy: (row) => known(row.greedy)};
  const COLUMNS = ALL_COLUMNS.filter(({name}) => !(name in has) || rows.some(has[name]));
  const body = el("tbody");
  const oracles = el("tbody.oracles");
  const state = {column: null, direction: -1};
  const line = ({row, under}) =>
    el(
      under ? "tr.under" : "tr",
      {"data-method": row.method},
      COLUMNS.map((column, k) =>
        k
          ? el(column.plotted ? "td" : "td.number", {}, column.show(row, domain))
          : el("th", {scope: "row"}, column.show(row)),
      ),
    );
  const heads = COLUMNS.map((column) => {
    const button = el("button", {type: "button", onclick: () => sortBy(column)}, column.name);
    return el(
      column.plotted || column.text ? "th" : "th.number",
      {scope: "col"},
      button,
      column.plotted ? axisStrip(domain) : null,
    );
  });
  const ordered = (group) => {
    if (!state.column) return inOrder(group);
    const value = (row) => state.column.value(row) ?? -Infinity;
    const compare = state.column.text
      ? (a, b) => value(a).localeCompare(value(b))
      : (a, b) => (value(a) === value(b) ? 0 : value(a) - value(b));
    return [...group].sort((a, b) => state.direction * compare(a, b)).map((row) => ({row, under: false}));
  };
  const fill = () => {
    body.replaceChildren(...ordered(rows.filter((row) => !row.oracle)).map(line));
    const apart = rows.filter((row) => row.oracle);
    const note = el(
      "tr.apart",
      el(
        "th",
        {colspan: COLUMNS.length, scope: "rowgroup"},
        "Oracles: they used the gold answer. Upper bounds, no baselines.",
      ),
    );
    oracles.replaceChildren(...(apart.length ? [note, ...ordered(apart).map(line)] : []));
    heads.forEach((head, k) =>
      head.setAttribute(
        "aria-sort",
        COLUMNS[k] !== state.column ? "none" : state.direction < 0 ? "descending" : "ascending",
      ),
    );
  };
  // First the useful direction, then the other, then the order in which votes stand under their teams.
  const sortBy = (column) => {
    const first = column.text ? 1 : -1;
    if (state.column !== column) Object.assign(state, {column, direction: first});
    else if (state.direction === first) state.direction = -first;
    else state.column = null;
    fill();
    announce(
      state.column
        ? `Sorted by ${column.name}, ${state.direction < 0 ? "descending" : "ascending"}`
        : "Sorted by team, votes under their teams",
    );
  };
  fill();
  const caption = el(
    "caption.hidden",
    `Methods on ${plain(task)}: accuracy with 95 % interval over questions, each seed, cost`,
  );
  return scrolling(
    `Methods on ${plain(task)}`,
    el("table.summary", caption, el("thead", el("tr", heads)), body, oracles),
  );
}

function axisStrip([low, high]) {
  const x = linear(low, high, 5, 135);
  return svg(
    "svg",
    {viewBox: "0 0 140 14", class: "strip axis", "aria-hidden": "true"},
    linearTicks(low, high, 3).map((tick) =>
      svg("text.tick", {x: Math.min(Math.max(x(tick), 9), 131), y: 11, "text-anchor": "middle"}, percent(tick, 0)),
    ),
  );
}
