// What came of the asserts that code was checked for.

const AT_ONCE_CHECKED = 8; // asserts that show without being asked for

const STATUS = {
  passed: {name: "right", sign: "✓", word: "passed"},
  failed: {name: "wrong", sign: "✗", word: "failed"},
  error: {name: "wrong", sign: "!", word: "error"},
  timeout: {name: "tied", sign: "◷", word: "timeout"},
  not_run: {name: "unknown", sign: "–", word: "not run"},
};

const passedOf = (checks) => `${checks.filter(([, status]) => status === "passed").length} of ${checks.length}`;

// "3 of 5 asserts pass: 1 failed, 1 timeout"
function checkedText(checks) {
  const others = Object.entries(STATUS)
    .map(([status, {word}]) => [checks.filter((check) => check[1] === status).length, status, word])
    .filter(([number, status]) => number && status !== "passed")
    .map(([number, , word]) => `${number} ${word}`);
  return `${passedOf(checks)} asserts pass${others.length ? `: ${others.join(", ")}` : ""}`;
}

// A line an assert: its verdict, itself, and what came of it.
function checksNode(checks, pattern) {
  const items = checks.map(([source, status, explanation = ""]) => {
    const {name, sign: mark, word} = STATUS[status] ?? {name: "unknown", sign: "?", word: plain(status)};
    return el(
      "li",
      el(`span.sign.${name}`, {title: word}, el("span", {"aria-hidden": "true"}, mark), el("span.hidden", ` ${word} `)),
      el("div", codeNode(source, {pattern}), explanation ? el("p.why", {dir: "auto"}, textNodes(explanation, pattern)) : null),
    );
  });
  const node = details(checkedText(checks), el("ul.checks", {tabindex: "0", "aria-label": "Asserts"}, items));
  node.classList.add("checked");
  node.open = checks.length <= AT_ONCE_CHECKED;
  return node;
}
