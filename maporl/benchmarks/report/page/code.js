// Python in colours, and what changed between two pieces of it, line by line. Coloured text is text nodes in spans, like all the page.

const LONGEST_CODE = 65_536; // characters; what is longer stays plain

const KEYWORDS = new Set(
  "False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield".split(" "),
);
const BUILTINS = new Set(
  "abs all any bin bool bytes chr dict divmod enumerate filter float format frozenset getattr hasattr hash hex id input int isinstance issubclass iter len list map max min next object oct open ord pow print range repr reversed round self set setattr slice sorted str sum super tuple type zip ArithmeticError AssertionError AttributeError Exception IndexError KeyError NotImplementedError OverflowError RecursionError RuntimeError StopIteration TypeError ValueError ZeroDivisionError".split(" "),
);
const TOKEN = new RegExp(
  [
    /(?<comment>#[^\n]*)/,
    /(?<string>[rbuf]{0,2}(?:"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|"(?:\\[^]|[^"\\\n])*"?|'(?:\\[^]|[^'\\\n])*'?))/,
    /(?<decorator>@[\p{L}_][\p{L}\p{N}_.]*)/,
    /(?<number>\d[\p{L}\p{N}_.]*|\.\d[\p{L}\p{N}_]*)/,
    /(?<name>[\p{L}_][\p{L}\p{N}_]*)/,
    /[\s]+|[^]/,
  ]
    .map(({source}) => source)
    .join("|"),
  "giu",
);

// [[kind, text], ...]; the kinds are classes of style.css, "" is plain.
function tokensOf(code) {
  if (code.length > LONGEST_CODE) return [["", code]];
  const tokens = [];
  let before = ""; // the word before this one
  for (const {0: text, groups} of code.matchAll(TOKEN)) {
    let kind = ["comment", "string", "number", "decorator"].find((name) => groups[name] !== undefined) ?? "";
    if (groups.name) {
      if (before === "def" || before === "class") kind = "defined";
      else if (before === ".") kind = "";
      else if (KEYWORDS.has(text)) kind = "keyword";
      else if (BUILTINS.has(text)) kind = "builtin";
    } else if (kind === "decorator" && /[\p{L}\p{N}_)\]]/u.test(before.at(-1) ?? "")) kind = ""; // a product of matrices
    if (text.trim()) before = text;
    if (!kind && tokens.at(-1)?.[0] === "") tokens.at(-1)[1] += text;
    else tokens.push([kind, text]);
  }
  return tokens;
}

// The lines of some code, each a list of [kind, text]; a string or comment of several lines is cut at their ends.
function codeLines(code, python) {
  const lines = [[]];
  for (const [kind, text] of python ? tokensOf(code) : [["", code]]) {
    text.split("\n").forEach((part, k) => {
      if (k) lines.push([]);
      if (part) lines.at(-1).push([kind, part]);
    });
  }
  if (lines.length > 1 && !lines.at(-1).length) lines.pop(); // after the last line break
  return lines;
}

const plainLine = (line) => line.map(([, text]) => text).join("");

// A line as nodes: what `pattern` finds is marked, also where it begins in one colour and ends in another.
function lineNodes(line, pattern) {
  const nodes = [];
  const ends = [];
  for (const [part, found] of split(plainLine(line), pattern)) ends.push([part.length, found]);
  let [left, found] = ends.shift() ?? [0, false];
  for (let [kind, text] of line) {
    while (text) {
      const part = text.slice(0, left);
      text = text.slice(left);
      const inner = textNodes(part);
      const coloured = kind ? [el(`span.${kind}`, {}, inner)] : inner;
      nodes.push(...(found ? [el("mark", {}, coloured)] : coloured));
      left -= part.length;
      if (!left) [left, found] = ends.shift() ?? [Infinity, false];
    }
  }
  return nodes;
}

// A line of a block; where it wraps, it goes on below where it began.
function codeLine(name, more, line, pattern) {
  const node = el(name, more, lineNodes(line, pattern));
  node.style.setProperty("--indent", Math.min(/^ */.exec(plainLine(line))[0].length, 16));
  return node;
}

const CHANGED = {new: ["ins.line", "+"], gone: ["del.line", "−"], same: ["span.line", ""]};

// A block of code; of `earlier`, if it is given and they have anything in common, the lines that went and came are shown.
function codeNode(code, {python = true, earlier, pattern = null} = {}) {
  const now = codeLines(code, python);
  const was = earlier === undefined ? now : codeLines(earlier, python);
  const parts = earlier === undefined ? null : compared(was.map(plainLine), now.map(plainLine));
  const telling = parts?.some(([kind, text]) => kind === "same" && text.trim()) && parts.some(([kind]) => kind !== "same");
  if (!telling) return el("code.code", {}, now.map((line) => codeLine("span.line", {}, line, pattern)));
  let [i, j] = [0, 0];
  return el(
    "code.code.compared",
    {},
    parts.map(([kind]) => {
      const line = kind === "gone" ? was[i] : now[j];
      if (kind !== "new") i++;
      if (kind !== "gone") j++;
      const [name, mark] = CHANGED[kind];
      return codeLine(name, {"data-mark": mark}, line, pattern);
    }),
  );
}

const isCode = (kind) => kind === "python" || kind === "code";

// The pieces of a text, [kind, text] each, as `cuts` say: [kind, length, kind, length, ...], or null for prose.
function piecesOf(text, cuts) {
  if (!cuts) return [["text", text]];
  const pieces = [];
  let at = 0;
  for (let k = 0; k < cuts.length && at < text.length; k += 2) {
    pieces.push([cuts[k], text.slice(at, at + cuts[k + 1])]);
    at += cuts[k + 1];
  }
  return pieces;
}

// The fence that opens a block names its language; one that says nothing is there for those who copy it.
const fenceNode = (fence, pattern) =>
  el(/^[`~\s]*$/.test(fence) ? "span.hidden" : "span.fence", {}, textNodes(fence.trim(), pattern));

// A text with its code in blocks. `earlier` is what the same agent said before, as pieces; the first block is compared with the first.
function piecesNodes(pieces, earlier, pattern) {
  const numbers = {text: 0, code: 0};
  const before = {text: [], code: []};
  for (const [kind, part] of earlier ?? []) before[isCode(kind) ? "code" : "text"].push(part);
  return pieces.flatMap(([kind, part]) => {
    if (kind === "fence") return fenceNode(part, pattern);
    const earlierPart = before[isCode(kind) ? "code" : "text"][numbers[isCode(kind) ? "code" : "text"]++];
    if (isCode(kind)) return part ? codeNode(part, {python: kind === "python", earlier: earlierPart, pattern}) : [];
    return changedNodes(part, earlierPart, pattern);
  });
}
