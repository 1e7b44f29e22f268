// Which discussions the list shows, and in which order; from the index alone.

const isRight = (correct) => correct >= 0.999;

// [word, label, what it means, test]; in groups.
const CASES = {
  Outcome: [
    ["right", "Right", "The team's answer is right", (i) => isRight(index_(i, "correct"))],
    ["wrong", "Wrong", "The team's answer is wrong", (i) => index_(i, "correct") <= 0.001],
    [
      "tied",
      "Tied",
      "Right and wrong answers share the first place",
      (i) => index_(i, "correct") > 0.001 && !isRight(index_(i, "correct")),
    ],
  ],
  Discussion: [
    [
      "fixed",
      "Fixed",
      "The vote of the first round is not right, the team's answer is",
      (i) => !isRight(index_(i, "first")) && isRight(index_(i, "correct")),
    ],
    [
      "broken",
      "Broken",
      "The vote of the first round is right, the team's answer is not",
      (i) => isRight(index_(i, "first")) && !isRight(index_(i, "correct")),
    ],
    [
      "disagreement",
      "Disagreement at the end",
      "The last round holds different answers",
      (i) => store.has(i, "disagreement"),
    ],
    ["never", "Never right", "No message is right", (i) => store.has(i, "never")],
    ["always", "Always right", "Every message is right", (i) => store.has(i, "always")],
  ],
  Messages: [
    [
      "no_answer",
      "Without an answer",
      "A message from which no answer could be read",
      (i) => store.has(i, "no_answer"),
    ],
    ["truncated", "Cut off", "A message was cut at the token limit", (i) => store.has(i, "truncated")],
    ["overflow", "Overflow", "A prompt did not fit the model's window", (i) => store.has(i, "overflow")],
    ["unknown", "Not judged", "A message whose correctness nobody knows", (i) => store.has(i, "unknown")],
    [
      "ablated",
      "With blanked peers",
      "The last round was spoken again without the peers' messages",
      (i) => store.has(i, "ablated"),
    ],
    ["oracle", "Oracle", "A verifier that knows the gold answer chose the answer", (i) => store.has(i, "oracle")],
  ],
};
const CASE = new Map(
  Object.values(CASES)
    .flat()
    .map(([word, label, about, test]) => [word, {label, about, test}]),
);

const SORTS = {
  asked: ["By question", () => 0],
  longest: ["Longest first", (i) => -index_(i, "length")],
  shortest: ["Shortest first", (i) => index_(i, "length")],
  tokens: ["Most tokens first", (i) => -index_(i, "tokens")],
  hardest: ["Hardest question first", (i) => difficulty()[index_(i, "question")]],
};

const RELATIONS = {
  differs: ["Either is right, not both", (mine, other) => mine !== other],
  better: ["This is right, the other not", (mine, other) => mine && !other],
  worse: ["The other is right, this not", (mine, other) => !mine && other],
};

const ANY = {
  task: "",
  method: "",
  seed: "",
  decoding: "",
  kind: "",
  other: "",
  relation: "differs",
  sort: "asked",
  query: "",
};

// Mean of "correct" over the discussions of each question that `wanted` takes; NaN where there is none.
function meanByQuestion(wanted) {
  const sums = new Float64Array(store.byQuestion.length);
  const counts = new Float64Array(store.byQuestion.length);
  for (let i = 0; i < store.size; i++) {
    if (!wanted(i)) continue;
    sums[index_(i, "question")] += index_(i, "correct");
    counts[index_(i, "question")] += 1;
  }
  return sums.map((sum, q) => sum / counts[q]);
}

let difficult = null;
const difficulty = () => (difficult ??= meanByQuestion(() => true));

// Everything but the case and the query: the discussions, by question.
function within({task, method, seed, decoding, other, relation}) {
  const cells = figures.cells.map(
    (cell) =>
      (!task || cell.task === task) && (!method || cell.method === method) && (!seed || String(cell.seed) === seed),
  );
  const chosen = [];
  const theirs = other
    ? [false, true].map((greedy) =>
        meanByQuestion((i) => store.cell(i).method === other && store.has(i, "greedy") === greedy),
      )
    : null;
  for (const members of store.byQuestion) {
    for (const i of members) {
      if (!cells[index_(i, "cell")]) continue;
      if (decoding && (decoding === "greedy") !== store.has(i, "greedy")) continue;
      if (theirs) {
        const [alike, unlike] = store.has(i, "greedy") ? [theirs[1], theirs[0]] : theirs; // the same decoding, if there is one
        const q = index_(i, "question");
        const outcome = Number.isNaN(alike[q]) ? unlike[q] : alike[q];
        if (Number.isNaN(outcome) || store.cell(i).method === other) continue;
        if (!RELATIONS[relation][1](isRight(index_(i, "correct")), outcome > 0.5)) continue;
      }
      chosen.push(i);
    }
  }
  return chosen;
}

function ofKind(chosen, kind) {
  return kind ? chosen.filter(CASE.get(kind).test) : chosen;
}

function sorted(chosen, sort) {
  const key = SORTS[sort][1];
  if (sort === "asked") return chosen;
  const keys = new Float64Array(store.size);
  for (const i of chosen) keys[i] = key(i);
  return [...chosen].sort((a, b) => keys[a] - keys[b]);
}

function countsOf(chosen) {
  const counts = new Map([...CASE.keys()].map((word) => [word, 0]));
  for (const i of chosen) for (const [word, {test}] of CASE) if (test(i)) counts.set(word, counts.get(word) + 1);
  return counts;
}
