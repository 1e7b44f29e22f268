// What happens between the agents: flip matrices and the metrics of collaboration.

const FIRST = 4; // methods whose matrices show at once

function flipMatrices(task, wanted = comparedEntry) {
  const entries = figures.collaboration.filter((one) => one.task === task && wanted(one) && one.metrics.flips?.rounds?.length);
  if (!entries.length) return null;
  return el(
    "section",
    el("h3", "What a round changes"),
    el(
      "p.note",
      "Messages that are right or wrong before a round (rows) and after it (columns). Off the diagonal, the share of the row that flipped.",
    ),
    el("div.flips", entries.slice(0, FIRST).map(flipsOf)),
    entries.length > FIRST
      ? details(`${entries.length - FIRST} more`, el("div.flips", entries.slice(FIRST).map(flipsOf)))
      : null,
  );
}

// Steps on the way of a run are compared in its own section alone.
const comparedEntry = (one) => one.split === "" || one.split === "test";
const nameOfEntry = (one) => (alone() ? one.moment : one.label);

function flipsOf(entry) {
  const [label, {metrics}] = [nameOfEntry(entry), entry];
  const matrices = metrics.flips.rounds.map((step) =>
    flipMatrix(step.all, `Round ${step.round + 1} to ${step.round + 2}`, label),
  );
  return el("div", el("h4", plain(label)), el("div.matrices", matrices));
}

function flipMatrix(matrix, caption, label) {
  const total = matrix.right_right + matrix.right_wrong + matrix.wrong_right + matrix.wrong_wrong;
  const cell = (name, kind, rate) => {
    const node = el(
      `td.${kind}`,
      el("strong", count(matrix[name])),
      rate === undefined ? null : el("span.sub", known(rate) ? `${percent(rate)} %` : "–"),
    );
    node.style.setProperty("--heat", total ? (0.06 + 0.5 * (matrix[name] / total)).toFixed(3) : "0");
    return node;
  };
  const head = el("tr", el("td"), el("th", {scope: "col"}, "right after"), el("th", {scope: "col"}, "wrong after"));
  return el(
    "table.matrix",
    el("caption", caption, el("span.hidden", ` of ${plain(label)}`)),
    el("thead", head),
    el(
      "tbody",
      el(
        "tr",
        el("th", {scope: "row"}, "right before"),
        cell("right_right", "good"),
        cell("right_wrong", "bad", matrix.right_to_wrong_rate),
      ),
      el(
        "tr",
        el("th", {scope: "row"}, "wrong before"),
        cell("wrong_right", "good", matrix.wrong_to_right_rate),
        cell("wrong_wrong", "bad"),
      ),
    ),
  );
}

const rateOf = (entry) =>
  entry && known(entry.rate)
    ? [`${percent(entry.rate)}`, el("span.sub", `${count(entry.turned ?? 0)} of ${count(entry.chances)}`)]
    : "–";

const COLLABORATION = [
  [
    "Persuasion",
    "Of the wrong peers of a right agent, the share that is right one round later",
    (m) => rateOf(m.persuasion?.all),
  ],
  [
    "Right unaided",
    "Of the wrong agents without any right peer, the share that is right one round later: what persuasion is held against",
    (m) => rateOf(m.persuasion?.unaided),
  ],
  [
    "Conformity",
    "Of the right agents whose peers were mostly wrong, the share that is wrong one round later",
    (m) => rateOf(m.conformity?.all?.wrong_majority),
  ],
  [
    "Lost unpressed",
    "Of the right agents whose peers were mostly right, the share that is wrong one round later: what conformity is held against",
    (m) => rateOf(m.conformity?.all?.right_majority),
  ],
  [
    "Agreement, round by round",
    "Share of pairs of messages of a round that give the same answer",
    (m) => m.rounds.map((round) => percent(round.agreement)).join(" → ") || "–",
  ],
  [
    "Vote, first to last",
    "Accuracy of the vote of the first and of the last round",
    (m) => `${percent(m.first?.vote_accuracy)} → ${percent(m.final?.vote_accuracy)}`,
  ],
  [
    "Hearing the peers",
    "Accuracy of the team minus that with the peers' messages blanked in the last round, in points",
    ablationCell,
  ],
  [
    "Back and forth",
    "Agents that leave their verdict and return to it, of those with three messages",
    (m) => percent(m.round_trips?.all?.rate),
  ],
  [
    "Contribution of each agent",
    "Accuracy of the last vote minus that of the vote without the agent, in points",
    contributionCell,
  ],
];

function ablationCell(metrics) {
  const {records, team} = metrics.ablation ?? {};
  return records ? [points(team?.difference), el("span.sub", `${count(records)} discussions`)] : "–";
}

function contributionCell(metrics) {
  const entries = Object.entries(metrics.marginal_contribution ?? {}).filter(([, one]) => known(one.contribution));
  return entries.length
    ? entries.map(([agent, one]) => el("span.line", `${plain(agent)} ${points(one.contribution)}`))
    : "–";
}

function collaborationTable(task, wanted = comparedEntry) {
  const entries = figures.collaboration.filter((one) => one.task === task && wanted(one) && one.metrics.agents.length > 1);
  if (!entries.length) return null;
  const head = el(
    "tr",
    el("td"),
    entries.map((one) => el("th.number", {scope: "col"}, plain(nameOfEntry(one)))),
  );
  const line = ([name, about, show]) =>
    el(
      "tr",
      el("th", {scope: "row"}, name, el("span.sub", about)),
      entries.map((one) => el("td.number", show(one.metrics))),
    );
  return el(
    "section",
    el("h3", "Collaboration"),
    el("p.note", alone() ? "Shares in per cent." : "Shares in per cent, of sampled discussions of all seeds."),
    scrolling(
      `Collaboration on ${plain(task)}`,
      el(
        "table.collaboration",
        el("caption.hidden", `Collaboration metrics on ${plain(task)}`),
        el("thead", head),
        el("tbody", COLLABORATION.map(line)),
      ),
    ),
  );
}
