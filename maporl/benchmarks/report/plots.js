// Learning curves, accuracy by round, cost against accuracy.

const MARGIN = {left: 44, top: 26, bottom: 40};

function frameOf(width, height, xs, ys, {log = false, right = 12} = {}) {
  const x = (log ? logarithmic : linear)(xs[0], xs[1], MARGIN.left + 8, width - right);
  const y = linear(ys[0], ys[1], height - MARGIN.bottom, MARGIN.top);
  return {x, y};
}

const METRICS = [
  [/^eval\/accuracy$/, "Accuracy in evaluations", true],
  [/^rollout\/accuracy_last_round$/, "Accuracy while training, last round", true],
  [/^rollout\/accuracy_round_(\d+)$/, (round) => `Accuracy while training, round ${round}`, true],
  [/^rollout\/reward_mean$/, "Reward while training", false],
  [/^rollout\/verifier_score_round_(\d+)$/, (round) => `Verifier's score while training, round ${round}`, false],
  [/^rollout\/verifier_gap_round_(\d+)$/, (round) => `Verifier's score minus accuracy, round ${round}`, false],
  [/^eval\/agent_accuracy$/, "Accuracy of single messages in evaluations", true],
];

function metricName(name) {
  for (const [pattern, label] of METRICS) {
    const found = name.match(pattern);
    if (found) return typeof label === "string" ? label : label(found[1]);
  }
  return name;
}

const shortened = (label, most) => (label.length > most ? `${plain(label.slice(0, most - 1))}…` : plain(label));

const isShare = (name) =>
  METRICS.some(([pattern, , share]) => share && pattern.test(name)) || /accuracy|rate/.test(name);

function learningCurves(task) {
  const runs = figures.curves.filter((run) => run.task === task);
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))];
  if (!names.length) return null;
  const rank = (name) => {
    const k = METRICS.findIndex(([pattern]) => pattern.test(name));
    return k < 0 ? METRICS.length : k;
  };
  const longest = (name) => Math.max(...runs.map((run) => run.metrics[name]?.length ?? 0));
  names.sort((a, b) => rank(a) - rank(b) || b.localeCompare(a, "en", {numeric: true}));
  let chosen = names.find((name) => isShare(name) && longest(name) > 3) ?? names[0];
  const holder = el("div");
  const show = () =>
    holder.replaceChildren(
      curvePlot(
        runs.filter((run) => run.metrics[chosen]?.length),
        chosen,
        chooser,
      ),
    );
  const select = el(
    "select",
    {onchange: (event) => ((chosen = event.target.value), show(), event.target.focus())},
    names.map((name) => el("option", {value: name, selected: name === chosen}, plain(metricName(name)))),
  );
  const chooser = el("label.choose", {}, "Metric ", select);
  show();
  return holder;
}

function curvePlot(runs, name, chooser) {
  const groups = Map.groupBy(runs, (run) => run.method);
  const show = isShare(name) ? (value) => percent(value, 0) : (value) => figure(value, 4);
  const all = runs.flatMap((run) => run.metrics[name]);
  const means = [...groups].map(([method, members]) => ({
    method,
    label: members[0].label,
    points: meanOf(members.map((run) => run.metrics[name])),
  }));
  const draw = (width) => {
    const height = 300;
    const {x, y} = frameOf(
      width,
      height,
      [Math.min(...all.map((p) => p[0])), Math.max(...all.map((p) => p[0]))],
      around(
        all.map((p) => p[1]),
        {share: isShare(name)},
      ),
    );
    const nodes = axes({
      x,
      y,
      width,
      height,
      left: MARGIN.left,
      bottom: MARGIN.bottom,
      xLabel: "Iteration",
      yLabel: metricName(name) + (isShare(name) ? ", %" : ""),
      yShow: show,
      xShow: count,
    });
    for (const run of runs)
      nodes.push(
        svg(
          `path.thin.${tint(run.method)}`,
          {d: path(run.metrics[name], x, y)},
          svg("title", {}, plain(`${run.label}, seed ${run.seed}`)),
        ),
      );
    for (const mean of means) {
      nodes.push(
        svg(
          `path.bold.${tint(mean.method)}`,
          {d: path(mean.points, x, y)},
          svg("title", {}, plain(`${mean.label}, mean`)),
        ),
      );
      const every = Math.max(1, Math.ceil(mean.points.length / 8));
      mean.points.forEach(([a, b], k) => k % every === 0 && nodes.push(mark(mean.method, x(a), y(b), 3.5)));
    }
    return {height, nodes};
  };
  const rows = runs.map((run) => {
    const values = run.metrics[name];
    return [
      run.label,
      run.seed,
      count(values.length),
      show(values[0][1]),
      show(values.at(-1)[1]),
      show(Math.max(...values.map((p) => p[1]))),
    ];
  });
  return plot({
    title: "Learning curves",
    note: "One thin line a training; bold, with marks, the mean of a method's seeds.",
    description: `${metricName(name)} by iteration, ${many(runs.length, "training")}.`,
    draw,
    legend: [chooser, legendOf(means)],
    table: tableOf(
      `${metricName(name)}, every training`,
      ["Method", "Seed", "Points", "First", "Last", "Highest"],
      rows,
    ),
  });
}

// The mean over runs at every iteration that all of them have reached.
function meanOf(lines) {
  const sums = new Map();
  for (const line of lines) for (const [a, b] of line) sums.set(a, [...(sums.get(a) ?? []), b]);
  return [...sums]
    .filter(([, values]) => values.length === lines.length)
    .sort((a, b) => a[0] - b[0])
    .map(([a, values]) => [a, values.reduce((s, v) => s + v, 0) / values.length]);
}

function accuracyByRound(task) {
  const entries = figures.collaboration.filter((one) => one.task === task && one.metrics.rounds.length > 1);
  if (!entries.length) return null;
  const values = entries.flatMap((one) => one.metrics.rounds.flatMap((round) => [round.accuracy, round.vote_accuracy]));
  const last = Math.max(...entries.flatMap((one) => one.metrics.rounds.map((round) => round.round)));
  const draw = (width) => {
    const height = 300;
    const wide = width > 480;
    const {x, y} = frameOf(width, height, [0, Math.max(last, 1)], around(values, {share: true, least: 0.1}), {
      right: wide ? 150 : 16,
    });
    x.ticks = [...Array(last + 1).keys()];
    const nodes = axes({
      x,
      y,
      width: wide ? width - 140 : width,
      height,
      left: MARGIN.left,
      bottom: MARGIN.bottom,
      xLabel: "Round",
      yLabel: "Right, %",
      xShow: (r) => r + 1,
      yShow: (v) => percent(v, 0),
    });
    const labels = [];
    for (const one of entries) {
      const line = (name) =>
        one.metrics.rounds.filter((round) => known(round[name])).map((round) => [round.round, round[name]]);
      nodes.push(svg(`path.bold.${tint(one.method)}`, {d: path(line("accuracy"), x, y)}));
      nodes.push(svg(`path.dashed.${tint(one.method)}`, {d: path(line("vote_accuracy"), x, y)}));
      line("accuracy").forEach(([a, b]) =>
        nodes.push(mark(one.method, x(a), y(b), 4, {title: `${plain(one.label)}, round ${a + 1}: ${percent(b)} %`})),
      );
      const end = line("accuracy").at(-1);
      if (end && entries.length <= 8) labels.push({y: y(end[1]) + 4, text: shortened(one.label, 20)});
    }
    if (wide)
      spread(labels, 15, 20, height - 44).forEach((label) =>
        nodes.push(svg("text.tag", {x: width - 138, y: label.y}, label.text)),
      );
    return {height, nodes};
  };
  const rows = entries.flatMap((one) =>
    one.metrics.rounds.map((round) => [
      one.label,
      round.round + 1,
      percent(round.accuracy),
      percent(round.vote_accuracy),
      percent(round.agreement),
      count(round.messages),
    ]),
  );
  return plot({
    title: "Accuracy by round",
    note: "Solid: messages that are right. Dashed: the vote of the round.",
    description: "Share of right messages, and of right votes, in each round of every team.",
    draw,
    legend: legendOf(entries),
    table: tableOf(
      "Accuracy by round",
      ["Method", "Round", "Messages right, %", "Vote right, %", "Pairs that agree, %", "Messages"],
      rows,
    ),
  });
}

function costPlot(task) {
  const rows = figures.summary.filter((row) => row.task === task && known(row.accuracy) && row.completion_tokens > 0);
  if (rows.length < 2) return null;
  const fair = rows
    .filter((row) => !row.oracle)
    .sort((a, b) => a.completion_tokens - b.completion_tokens || b.accuracy - a.accuracy);
  const front = fair.filter((row, k) => fair.slice(0, k).every((other) => other.accuracy < row.accuracy));
  const costs = rows.map((row) => row.completion_tokens);
  const draw = (width) => {
    const height = 320;
    const ys = around(
      rows.flatMap((row) => [row.low, row.high, row.accuracy]),
      {share: true, least: 0.1},
    );
    const {x, y} = frameOf(width, height, [Math.min(...costs) / 1.4, Math.max(...costs) * 1.4], ys, {log: true});
    const nodes = axes({
      x,
      y,
      width,
      height,
      left: MARGIN.left,
      bottom: MARGIN.bottom,
      xLabel: "Completion tokens a question, logarithmic",
      yLabel: "Accuracy, %",
      xShow: count,
      yShow: (v) => percent(v, 0),
    });
    const steps = front.flatMap((row, k) =>
      k
        ? [
            [row.completion_tokens, front[k - 1].accuracy],
            [row.completion_tokens, row.accuracy],
          ]
        : [[row.completion_tokens, row.accuracy]],
    );
    if (front.length)
      nodes.push(svg("path.front", {d: path([...steps, [Math.max(...costs) * 1.4, front.at(-1).accuracy]], x, y)}));
    for (const row of rows) {
      const [a, b] = [x(row.completion_tokens), y(row.accuracy)];
      if (known(row.low))
        nodes.push(svg(`line.whisker.${tint(row.method)}`, {x1: a, x2: a, y1: y(row.low), y2: y(row.high)}));
      nodes.push(
        mark(row.method, a, b, 5, {
          hollow: row.oracle,
          title: `${plain(row.label)}: ${percent(row.accuracy)} % for ${count(row.completion_tokens)} tokens`,
        }),
      );
    }
    return {height, nodes};
  };
  const lines = rows.map((row) => [
    row.label,
    count(row.completion_tokens),
    percent(row.accuracy),
    range(row.low, row.high, percent) || "–",
    row.oracle ? "oracle" : front.includes(row) ? "yes" : "no",
  ]);
  return plot({
    title: "Cost against accuracy",
    note: "The line is what is best for its cost; hollow marks are oracles and no part of it.",
    description: "Accuracy with its interval against completion tokens a question, for every method.",
    draw,
    legend: legendOf(rows.map((row) => ({...row, hollow: row.oracle}))),
    table: tableOf(
      "Cost against accuracy",
      ["Method", "Completion tokens a question", "Accuracy, %", "95 % interval", "Best for its cost"],
      lines,
    ),
  });
}
