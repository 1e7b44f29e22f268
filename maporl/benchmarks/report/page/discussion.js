// One discussion: rounds, and in each the agents side by side.

const SHOWN = 4000; // characters of a message at first
const KEPT = 0.3; // a message that keeps less of the one before is new, and shown plainly

const TURN = [
  "agent", "round", "text", "score", "truth", "reward", "advantage", "prompt", "completion", "truncated", "feedback",
];

function turnOf(packed) {
  const turn = Object.fromEntries(TURN.map((name, k) => [name, packed[k]]));
  const [score, truth] = [turn.score, turn.truth === "same" ? turn.score : turn.truth];
  const judged = ([value, correct, answer, status]) => ({value, correct, answer, status});
  turn.score = score && judged(score);
  turn.truth = truth && judged(truth);
  turn.answer = turn.truth?.answer ?? turn.score?.answer ?? null;
  turn.verdict =
    turn.truth?.correct === true ? VERDICTS[1] : turn.truth?.correct === false ? VERDICTS[0] : VERDICTS["?"];
  return turn;
}

const sign = ({name, sign, word}) =>
  el(`span.sign.${name}`, el("span", {"aria-hidden": "true"}, sign), el("span.hidden", ` ${word} `));

const answerNodes = (answer) => (answer === null ? el("em", "no answer") : el("bdi", textNodes(answer)));

function discussionNode(text, {pattern, changes}) {
  const turns = text.turns.map(turnOf);
  const rounds = [...Map.groupBy(turns, (turn) => turn.round)].sort((a, b) => a[0] - b[0]);
  const before = new Map(); // agent -> its message of an earlier round
  const body = rounds.map(([round, members]) => {
    const node = roundNode(`Round ${round + 1}`, members, {before, agents: text.agents, pattern, changes});
    members.forEach((turn) => before.set(turn.agent, turn));
    return node;
  });
  if (!rounds.length) body.push(el("p.empty", "Nobody has spoken."));
  if (text.ablated) body.push(ablatedNode(text, rounds, {pattern, changes}));
  return el("div.discussion", body);
}

function ablatedNode(text, rounds, options) {
  const members = text.ablated.turns.map(turnOf);
  const before = new Map((rounds.at(-1)?.[1] ?? []).map((turn) => [turn.agent, turn]));
  const verdict = verdictOf(text.ablated.correct ?? 0);
  return el(
    "div.ablated",
    roundNode(
      "The last round again, with the peers' messages blanked",
      members,
      {...options, before, agents: text.agents},
      el("span.tally", sign(verdict), `the team's answer is ${verdict.word}`),
    ),
  );
}

function roundNode(title, members, {before, agents, pattern, changes}, more = null) {
  const cards = el(
    agents.length > 4 ? "div.cards.lots" : "div.cards",
    {},
    members.map((turn) =>
      turn.feedback
        ? feedbackNode(turn, pattern)
        : cardNode(turn, before.get(turn.agent), {agents, pattern, changes}),
    ),
  );
  cards.style.setProperty("--agents", Math.min(agents.length, 4));
  return el("section.round", el("div.round-head", el("h4", title), more ?? tallyNode(members.filter((turn) => !turn.feedback))), cards);
}

function tallyNode(members) {
  if (members.length < 2) return null;
  const votes = [...Map.groupBy(members, (turn) => turn.answer)].sort((a, b) => b[1].length - a[1].length);
  const shown = votes
    .slice(0, 4)
    .map(([answer, given]) =>
      el("span.vote", sign(given[0].verdict), answerNodes(answer), given.length > 1 ? ` ×${given.length}` : ""),
    );
  return el("span.tally", shown, votes.length > 4 ? `and ${votes.length - 4} more` : null);
}

// What was heard from outside: nobody's answer, and never right or wrong.
function feedbackNode(turn, pattern) {
  return el(
    "article.card.feedback",
    el("header", el("h5", el("bdi", textNodes(turn.agent))), el("em", "feedback")),
    messageNode(turn.text, undefined, {pattern, changes: false}),
  );
}

function cardNode(turn, earlier, {agents, pattern, changes}) {
  const changed = earlier && earlier.answer !== turn.answer;
  const answer = el(
    changed ? "span.answer.changed" : "span.answer",
    {},
    changed
      ? [
          el("s", answerNodes(earlier.answer)),
          el("span", {"aria-hidden": "true"}, " → "),
          el("span.hidden", " changed to "),
        ]
      : null,
    answerNodes(turn.answer),
  );
  const card = el(
    `article.card.${turn.verdict.name}`,
    el("header", el("h5", el("bdi", textNodes(turn.agent))), answer, sign(turn.verdict)),
    messageNode(turn.text, earlier?.text, {pattern, changes}),
    el("footer", factsOf(turn), earlier && turn.text === earlier.text ? el("em", "as before") : null),
  );
  card.style.setProperty("--column", agents.indexOf(turn.agent) + 1 || "auto");
  return card;
}

function factsOf(turn) {
  const fact = (name, value, title = null) => el("span", {title}, `${name} `, el("b", value));
  const facts = [];
  if (turn.score) facts.push(fact("score", figure(turn.score.value), "The verifier's"));
  if (turn.score && turn.truth && turn.score.correct !== turn.truth.correct)
    facts.push(
      el(
        "span.alert",
        "the verifier says ",
        turn.score.correct === null ? "unknown" : turn.score.correct ? "right" : "wrong",
      ),
    );
  if (turn.reward !== null) facts.push(fact("reward", figure(turn.reward), "What shaping paid for this message"));
  if (turn.advantage !== null) facts.push(fact("advantage", (turn.advantage > 0 ? "+" : "") + figure(turn.advantage)));
  facts.push(fact("tokens", count(turn.completion), `${count(turn.prompt)} read, ${count(turn.completion)} written`));
  if (turn.truncated) facts.push(el("span.alert", "cut off"));
  const status = (turn.truth ?? turn.score)?.status;
  if (status && status !== "ok" && status !== "no_answer") facts.push(el("span.alert", plain(status)));
  return facts;
}

function messageNode(text, earlier, {pattern, changes}) {
  const node = el("div.message", {dir: "auto"});
  const whole = () => node.replaceChildren(...changedNodes(text, earlier, pattern, changes));
  if (text.length <= SHOWN) whole();
  else {
    const more = el("button.more", {type: "button", onclick: whole}, `Show all ${count(text.length)} characters`);
    node.append(...textNodes(text.slice(0, SHOWN).replace(/[\ud800-\udbff]$/, ""), pattern), "… ", more);
  }
  if (!text) node.append(el("em", "empty message"));
  return node;
}

function changedNodes(text, earlier, pattern, changes) {
  const parts = changes && earlier !== undefined ? difference(earlier, text) : null;
  if (!parts || kept(parts) < KEPT) return textNodes(text, pattern);
  const tags = {new: "ins", gone: "del"};
  return parts.flatMap(([kind, part]) =>
    kind === "same" ? textNodes(part, pattern) : el(tags[kind], {}, textNodes(part, pattern)),
  );
}

function questionNode(question, text, pattern) {
  const views = Object.entries(text.private);
  const long = question.text.length > SHOWN;
  const body = el(
    "div.question",
    {dir: "auto"},
    textNodes(long ? question.text.slice(0, SHOWN) : question.text, pattern),
  );
  if (long)
    body.append(
      "… ",
      el(
        "button.more",
        {type: "button", onclick: () => body.replaceChildren(...textNodes(question.text, pattern))},
        `Show all ${count(question.text.length)} characters`,
      ),
    );
  return [
    body,
    el("p.gold", el("span", "Gold answer "), el("b", el("bdi", textNodes(question.gold, pattern)))),
    views.length
      ? el(
          "dl.private",
          views.map(([agent, view]) =>
            el(
              "div",
              el("dt", "Only ", el("bdi", textNodes(agent)), " knows"),
              el("dd", {dir: "auto"}, textNodes(view, pattern)),
            ),
          ),
        )
      : null,
  ];
}

// "Team, MAPPO · seed 0 · sample 2"
function nameOfDiscussion(i) {
  const cell = store.cell(i);
  const seat = index_(i, "seat");
  const several = store.byQuestion[index_(i, "question")].some((other) => index_(other, "sample") > 0);
  return [
    plain(cell.label),
    `seed ${cell.seed}`,
    seat === null ? "" : `seat ${plain(seat)}`,
    several ? `sample ${index_(i, "sample") + 1}` : "",
    store.has(i, "greedy") ? "greedy" : "",
  ]
    .filter(Boolean)
    .join(" · ");
}
