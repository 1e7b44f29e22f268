// The first thing a reader sees: does the team beat a vote that costs as much? And all other comparisons.

// The comparisons of a team with the votes that spend as many tokens as it does.
function fairComparisons(task) {
  const rows = figures.summary.filter((row) => row.task === task);
  const row = (method) => rows.find((one) => one.method === method);
  const fair = [];
  for (const comparison of figures.comparisons.filter((one) => one.task === task)) {
    const baseline = row(comparison.baseline);
    const team = row(comparison.method);
    if (!team?.team || team.oracle || !baseline || baseline.oracle) continue;
    const on = (baseline.matched ?? []).filter(([method]) => method === team.method).map(([, what]) => what);
    const twin = fair.some((one) => one.method === comparison.method && one.baseline === comparison.baseline); // matched on both
    if (on.length && !twin) fair.push({...comparison, team, vote: baseline, on});
  }
  return fair.sort((a, b) => b.difference - a.difference);
}

const MATCHED = {completion: "same completion tokens", all: "same tokens, prompts included"};
const matchedOn = (on) => on.map((what) => MATCHED[what] ?? what).join("; ");

// What a comparison allows to say; corrected p where there is one.
function conclusion({difference, low, high, p, p_holm}) {
  const chance = known(p_holm) ? p_holm : p;
  if (!known(low) || !known(high)) return {name: "open", word: "no interval"};
  if (low > 0 && !(chance >= 0.05)) return {name: "better", word: "better than the vote"};
  if (high < 0 && !(chance >= 0.05)) return {name: "worse", word: "worse than the vote"};
  return {name: "open", word: difference === 0 ? "no difference" : "not shown to differ"};
}

// What a reader must know where not every seed of both sides is compared.
function seedsCompared({seeds, seeds_left_out: left = []}) {
  if (seeds && !seeds.length) return "no seed in common, so all of both count";
  return left.length ? `seed ${left.join(", ")} left out, which only one of them has` : "";
}

const seedsNote = (one) => (seedsCompared(one) ? el("span.sub.seeds-compared", seedsCompared(one)) : null);

function fairPlot(task) {
  const fair = fairComparisons(task);
  if (!fair.length) return null;
  const ends = fair.flatMap((one) => [one.low, one.high, one.difference, 0]);
  const [low, high] = around(ends, {least: 0.08});
  const strip = (one) => {
    const x = linear(low, high, 6, 254);
    const nodes = [svg("line.zero", {x1: x(0), x2: x(0), y1: 0, y2: 28})];
    if (known(one.low)) nodes.push(svg("line.interval", {x1: x(one.low), x2: x(one.high), y1: 14, y2: 14}));
    if (known(one.difference)) nodes.push(svg("circle.dot", {cx: x(one.difference), cy: 14, r: 4.5}));
    return svg("svg", {viewBox: "0 0 260 28", class: `strip ${conclusion(one).name}`, "aria-hidden": "true"}, nodes);
  };
  const line = (one) => {
    const said = conclusion(one);
    return el(
      "tr",
      el(
        "th",
        {scope: "row"},
        plain(one.team.label),
        el("span.sub", `against ${plain(one.vote.label)}, ${matchedOn(one.on)}`),
        seedsNote(one),
      ),
      el("td.stripe", strip(one)),
      el("td.number", el("strong", points(one.difference)), el("span.sub", range(one.low, one.high, points))),
      el("td.number", probability(one.p_holm ?? one.p)),
      el(
        "td",
        el(`span.said.${said.name}`, said.word),
        said.name === "open" && known(one.detectable)
          ? el(
              "span.sub",
              {title: "The difference that a study of this size finds in 80 % of cases"},
              `detectable: ${percent(one.detectable)}`,
            )
          : null,
      ),
    );
  };
  const axis = svg(
    "svg",
    {viewBox: "0 0 260 18", class: "strip", "aria-hidden": "true"},
    linearTicks(low, high, 4).map((tick) =>
      svg(
        "text.tick",
        {x: linear(low, high, 6, 254)(tick), y: 13, "text-anchor": "middle"},
        (tick > 0 ? "+" : "") + figure(100 * tick, 1),
      ),
    ),
  );
  const heads = ["Team", "", "Difference, points", "p, corrected", ""];
  const head = el(
    "tr",
    heads.map((text, k) =>
      el(
        k === 1 ? "th.stripe" : k === 2 || k === 3 ? "th.number" : "th",
        {scope: "col"},
        k === 1 ? [axis, el("span.hidden", "Plot")] : text || el("span.hidden", "Conclusion"),
      ),
    ),
  );
  return el(
    "section.fair",
    el("h3", "Does the team beat a vote that costs as much?"),
    scrolling(
      "Teams against compute-matched votes",
      el(
        "table.fair",
        el(
          "caption.hidden",
          "Each team against the vote of a lone agent that spends as many tokens, on the same questions",
        ),
        el("thead", head),
        el("tbody", fair.map(line)),
      ),
    ),
  );
}

function comparisonsTable(task) {
  const rows = figures.comparisons.filter((one) => one.task === task);
  if (!rows.length) return null;
  const label = (method) => figures.summary.find((row) => row.task === task && row.method === method)?.label ?? method;
  const heads = [
    "Method",
    "Against",
    "Difference, points",
    "95 % interval",
    "p",
    "p, corrected (Holm)",
    "Questions",
    "Detectable, points",
  ];
  const lines = rows.map((one) => [
    label(one.method),
    [plain(label(one.baseline)), seedsNote(one)],
    points(one.difference),
    range(one.low, one.high, points) || "–",
    probability(one.p),
    probability(one.p_holm),
    count(one.questions),
    percent(one.detectable),
  ]);
  return details(
    `All ${rows.length} paired comparisons`,
    tableOf(`Paired comparisons on ${plain(task)}`, heads, lines),
  );
}

// Methods over all tasks, where there are runs enough.
function pooledNode() {
  if (!figures.pooled.length) return null;
  const label = (method) => figures.cells.find((cell) => cell.method === method)?.label ?? method;
  const heads = [
    "Method",
    "Runs",
    "Interquartile mean, %",
    "95 % interval",
    "Better than a single agent, %",
    "95 % interval",
  ];
  const lines = figures.pooled.map((one) => [
    label(one.method),
    count(one.runs),
    percent(one.iqm),
    range(one.low, one.high, percent) || "–",
    percent(one.improvement),
    range(one.improvement_low, one.improvement_high, percent) || "–",
  ]);
  return el(
    "section.task",
    {"aria-label": "Over all tasks"},
    el("h2", "Over all tasks"),
    el(
      "p.note",
      "Interquartile mean over runs, and the probability that a run is better than one of the single agent's.",
    ),
    tableOf("Methods over all tasks", heads, lines),
    el("div.plots", plotsOf("")),
  );
}
