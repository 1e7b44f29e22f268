// One discussion: rounds, and in each the agents side by side.

const SHOWN = 4000; // characters of a message at first
const KEPT = 0.3; // a message that keeps less of the one before is new, and shown plainly

const TURN = [
  "agent", "round", "text", "score", "truth", "reward", "advantage", "prompt", "completion", "truncated", "feedback",
  "checks", "cuts",
];

function turnOf(packed) {
  const turn = Object.fromEntries(TURN.map((name, k) => [name, packed[k]]));
  const [score, truth] = [turn.score, turn.truth === "same" ? turn.score : turn.truth];
  turn.score = score && scoreOf(score);
  turn.truth = truth && scoreOf(truth);
  turn.answer = turn.truth?.answer ?? turn.score?.answer ?? null;
  turn.verdict = saidBy(turn.truth);
  turn.pieces = piecesOf(turn.text, turn.cuts);
  return turn;
}

const scoreOf = ([value, correct, answer, status]) => ({value, correct, answer, status});
const saidBy = (score) => VERDICTS[score?.correct === true ? 1 : score?.correct === false ? 0 : "?"];

const sign = ({name, sign, word}) =>
  el(`span.sign.${name}`, el("span", {"aria-hidden": "true"}, sign), el("span.hidden", ` ${word} `));

// An answer of several lines is code, which stands elsewhere.
const answerNodes = (answer) =>
  answer === null
    ? el("em", "no answer")
    : answer.includes("\n")
      ? el("em", many(answer.trim().split("\n").length, "line"))
      : el("bdi", textNodes(answer));

// What a message comes to: of code how many of its asserts pass, else its answer; nothing where nobody looked for one.
const outcomeOf = (turn) =>
  turn.checks.length ? el("bdi", passedOf(turn.checks)) : turn.score || turn.truth ? answerNodes(turn.answer) : el("bdi");

// number: of the discussion, whose tokens may have been kept.
function discussionNode(text, {pattern, changes, number}) {
  const turns = text.turns.map((packed, place) => ({...turnOf(packed), place}));
  const rounds = [...Map.groupBy(turns, (turn) => turn.round)].sort((a, b) => a[0] - b[0]);
  const before = new Map(); // agent -> its message of an earlier round
  const body = rounds.map(([round, members]) => {
    const node = roundNode(`Round ${round + 1}`, members, {before, agents: text.agents, pattern, changes, number});
    if (text.teams[round]) node.append(togetherNode(text.teams[round], text.teams[round - 1], pattern));
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

function roundNode(title, members, {before, agents, pattern, changes, number}, more = null) {
  const cards = el(
    agents.length > 4 ? "div.cards.lots" : "div.cards",
    {},
    members.map((turn) =>
      turn.feedback
        ? feedbackNode(turn, pattern)
        : cardNode(turn, before.get(turn.agent), {agents, pattern, changes, number}),
    ),
  );
  cards.style.setProperty("--agents", Math.min(agents.length, 4));
  placeInRows([...cards.children], members, agents);
  return el("section.round", el("div.round-head", el("h4", title), more ?? tallyNode(members.filter((turn) => !turn.feedback))), cards);
}

// Read line by line, messages stand in the order in which they were said, each in its agent's column.
function placeInRows(nodes, members, agents) {
  let [row, last] = [1, -1];
  members.forEach((turn, n) => {
    const column = turn.feedback ? -1 : agents.indexOf(turn.agent);
    if (n && column <= last) row += 1;
    last = turn.feedback ? agents.length : column;
    nodes[n].style.setProperty("--row", row);
  });
}

function tallyNode(members) {
  if (members.length < 2 || !members.some((turn) => turn.score || turn.truth)) return null;
  const votes = [...Map.groupBy(members, (turn) => turn.answer)].sort((a, b) => b[1].length - a[1].length);
  const shown = votes
    .slice(0, 4)
    .map(([, given]) =>
      el("span.vote", sign(given[0].verdict), outcomeOf(given[0]), given.length > 1 ? ` ×${given.length}` : ""),
    );
  return el("span.tally", shown, votes.length > 4 ? `and ${votes.length - 4} more` : null);
}

// What was heard from outside: nobody's answer, and never right or wrong.
function feedbackNode(turn, pattern) {
  return el(
    "article.card.feedback",
    el("header", el("h5", el("bdi", textNodes(turn.agent))), el("em", "feedback")),
    messageNode(turn, undefined, {pattern, changes: false}),
  );
}

// The verdict on what all have said in a round, as one.
function togetherNode(team, earlier, pattern) {
  const score = scoreOf(team.score);
  const verdict = saidBy(score);
  const facts = [factNode("score", figure(score.value))];
  for (const [name, value] of Object.entries(team.measures)) facts.push(factNode(plain(name), figure(value)));
  const outcome = (one) => el("bdi", one.checks.length ? passedOf(one.checks) : saidBy(scoreOf(one.score)).word);
  const changed = earlier && outcome(earlier).textContent !== outcome(team).textContent;
  return el(
    `article.card.together.${verdict.name}`,
    el("header", el("h5", "Together"), changedNode(changed && outcome(earlier), outcome(team)), sign(verdict)),
    team.checks.length
      ? checksNode(team.checks, pattern)
      : el("p.note", {dir: "auto"}, textNodes(team.explanation, pattern)),
    el("footer", facts),
  );
}

function cardNode(turn, earlier, {agents, pattern, changes, number}) {
  const was = earlier && outcomeOf(earlier);
  const now = outcomeOf(turn);
  const changed = earlier && (turn.checks.length ? was.textContent !== now.textContent : earlier.answer !== turn.answer);
  const card = el(
    `article.card.${turn.verdict.name}`,
    el("header", el("h5", el("bdi", textNodes(turn.agent))), changedNode(changed && was, now), sign(turn.verdict)),
    messageNode(turn, earlier, {pattern, changes}),
    turn.checks.length ? checksNode(turn.checks, pattern) : null,
    el("footer", factsOf(turn), earlier && turn.text === earlier.text ? el("em", "as before") : null),
    hoard.has(number) && turn.completion ? tokensNode(number, turn.place) : null,
  );
  card.style.setProperty("--column", agents.indexOf(turn.agent) + 1 || "auto");
  return card;
}

// What a message comes to, after what the one before came to if that was another.
const changedNode = (was, now) =>
  el(
    was ? "span.answer.changed" : "span.answer",
    {},
    was ? [el("s", was), el("span", {"aria-hidden": "true"}, " → "), el("span.hidden", " changed to ")] : null,
    now,
  );

const factNode = (name, value, title = null) => el("span", {title}, `${name} `, el("b", value));

function factsOf(turn) {
  const facts = [];
  if (turn.score) facts.push(factNode("score", figure(turn.score.value), "The verifier's"));
  if (turn.score && turn.truth && turn.score.correct !== turn.truth.correct)
    facts.push(
      el(
        "span.alert",
        "the verifier says ",
        turn.score.correct === null ? "unknown" : turn.score.correct ? "right" : "wrong",
      ),
    );
  if (turn.reward !== null) facts.push(factNode("reward", figure(turn.reward), "What shaping paid for this message"));
  if (turn.advantage !== null) facts.push(factNode("advantage", (turn.advantage > 0 ? "+" : "") + figure(turn.advantage)));
  facts.push(factNode("tokens", count(turn.completion), `${count(turn.prompt)} read, ${count(turn.completion)} written`));
  if (turn.truncated) facts.push(el("span.alert", "cut off"));
  const status = (turn.truth ?? turn.score)?.status;
  if (status && status !== "ok" && status !== "no_answer") facts.push(el("span.alert", plain(status)));
  return facts;
}

// A message, {text, pieces}, and what changed since the same agent's earlier one.
function messageNode({text, pieces}, earlier, {pattern, changes}) {
  const node = el("div.message", {dir: "auto"});
  const whole = () => node.replaceChildren(...piecesNodes(pieces, changes ? earlier?.pieces : undefined, pattern));
  if (text.length <= SHOWN) whole();
  else {
    const more = el("button.more", {type: "button", onclick: whole}, `Show all ${count(text.length)} characters`);
    node.append(...piecesNodes(beginningOf(pieces), undefined, pattern), "… ", more);
  }
  if (!text) node.append(el("em", "empty message"));
  return node;
}

// Pieces of a text as far as its beginning that is shown at first.
function beginningOf(pieces) {
  let left = SHOWN;
  return pieces.flatMap(([kind, part]) => {
    const shown = part.slice(0, left).replace(/[\ud800-\udbff]$/, "");
    left = Math.max(left - part.length, 0);
    return shown ? [[kind, shown]] : [];
  });
}

function changedNodes(text, earlier, pattern) {
  const parts = earlier === undefined ? null : difference(earlier, text);
  if (!parts || kept(parts) < KEPT) return textNodes(text, pattern);
  const tags = {new: "ins", gone: "del"};
  return parts.flatMap(([kind, part]) =>
    kind === "same" ? textNodes(part, pattern) : el(tags[kind], {}, textNodes(part, pattern)),
  );
}

function questionNode(question, text, pattern) {
  const views = Object.entries(text.private);
  const pieces = piecesOf(question.text, text.asked);
  const body = el("div.question", {dir: "auto"});
  const show = (some) => body.replaceChildren(...piecesNodes(some, undefined, pattern));
  if (question.text.length <= SHOWN) show(pieces);
  else {
    show(beginningOf(pieces));
    const more = {type: "button", onclick: () => show(pieces)};
    body.append("… ", el("button.more", more, `Show all ${count(question.text.length)} characters`));
  }
  return [
    body,
    question.gold.includes("\n")
      ? details("Gold answer", codeNode(question.gold, {pattern}))
      : el("p.gold", el("span", "Gold answer "), el("b", el("bdi", textNodes(question.gold, pattern)))),
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
  const seeds = figures.cells.some((other) => other.seed !== cell.seed);
  return [
    plain(labelOfCell(cell)),
    alone() && !seeds ? "" : `seed ${cell.seed}`,
    seat === null ? "" : `seat ${plain(seat)}`,
    several ? `sample ${index_(i, "sample") + 1}` : "",
    store.has(i, "greedy") && !alone() ? "greedy" : "",
  ]
    .filter(Boolean)
    .join(" · ");
}
