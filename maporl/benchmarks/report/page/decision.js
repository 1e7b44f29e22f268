// What could be said at one decision of a tree: the prompt, and the candidates, chosen against rejected.

const SIGNS = {chosen: "▲", rejected: "▼", "": ""};

const markNode = (mark) =>
  el(`span.pair.${mark || "neither"}`, mark ? [el("span", {"aria-hidden": "true"}, SIGNS[mark]), ` ${mark}`] : "");

// A value as a number on its colour: from wrong (0) to right (1).
function heated(node, value) {
  node.style.setProperty("--heat", known(value) ? Math.min(Math.max(value, 0), 1).toFixed(3) : "0.5");
  return node;
}

const valueText = (value) => (known(value) ? fixed(value, 2) : "–");
const valueNode = (value) => heated(el("span.value", el("span.hidden", "value "), valueText(value)), value);

// Of a leaf whether the team is right, of another message how many discussions below are.
function outcomeNode(node) {
  if (node.children.length)
    return el(
      "span.outcome-of",
      `${known(node.right) ? figure(node.right, 1) : "?"}/${node.leaves}`,
      el("span.hidden", " right"),
    );
  return sign(known(node.right) ? verdictOf(node.right) : VERDICTS["?"]);
}

// Nodes that cannot be told apart: leaves that say the same, and are worth the same.
function alike(nodes) {
  const about = ({value, right, marks, said}) => JSON.stringify([value, right, marks, said.map((turn) => turn.text)]);
  return [...Map.groupBy(nodes, (node) => (node.children.length ? node.number : about(node))).values()];
}

function decisionNode(tree, decision, current) {
  const place = (node) => node.said.findIndex((turn) => turn.agent === decision.agent);
  const candidates = tree.under(decision.parent).filter((node) => place(node) >= 0);
  const compared = candidates.some((node) => node.marks[place(node)]);
  const columns = Object.keys(SIGNS).map((mark) => {
    const members = alike(candidates.filter((node) => node.marks[place(node)] === mark));
    if (!members.length) return null;
    const size = members.flat().length;
    return el(
      `section.column.${mark || "neither"}`,
      el("h4", mark ? markNode(mark) : compared ? "in no pair" : "candidates", ` (${size})`),
      members.map((nodes) => candidateNode(tree, nodes, place(nodes[0]), current)),
    );
  });
  return el(
    "section.decision",
    el(
      "h3",
      el("bdi", textNodes(decision.agent)),
      decision.parent < 0 ? " begins" : ` after ${tree.nameOf(tree.nodes[decision.parent])}`,
    ),
    el("p.note", `${many(candidates.length, "candidate")}, ${many(decision.pairs, "pair")}`),
    decision.prompt.length
      ? details(`Prompt, ${many(decision.prompt.length, "message")}`, decision.prompt.map(promptNode))
      : null,
    el("div.columns", columns),
  );
}

const wholeNode = (said) => messageNode(said, undefined, {pattern: null, changes: false});
const promptNode = ([role, text]) => el("div.shown", el("b", plain(role)), wholeNode({text, pieces: [["text", text]]}));

function candidateNode(tree, nodes, place, current) {
  const [node] = nodes;
  const turn = node.said[place];
  const goto = (one) => ({type: "button", title: "Show it in the tree", onclick: () => grove.select(one.number)});
  const names = nodes.map((one) => el("button.goto", goto(one), tree.nameOf(one)));
  return el(
    nodes.some((one) => one.number === current) ? "article.card.here" : "article.card",
    el(
      "header",
      el("h5", names),
      valueNode(node.value),
      outcomeNode(node),
      node.answer === null ? null : el("b", answerNodes(node.answer)),
    ),
    wholeNode(turn),
    turn.checks.length ? checksNode(turn.checks) : null,
    el("footer", factsOf(turn)),
  );
}
