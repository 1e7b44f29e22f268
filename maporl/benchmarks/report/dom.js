// Building the page. Text reaches it through text nodes only; nothing here, or anywhere, parses markup.

const SVG = "http://www.w3.org/2000/svg";

function build(node, ...parts) {
  const [first] = parts;
  const given = first && Object.getPrototypeOf(first) === Object.prototype;
  for (const [name, value] of Object.entries(given ? first : {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  const children = parts.slice(given ? 1 : 0).flat(Infinity);
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// el("p.note", {id: "x"}, "text", child): an element, its attributes if any, its children; a string becomes a text node.
function el(name, ...parts) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  return build(node, ...parts);
}

function svg(name, ...parts) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElementNS(SVG, tag);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  return build(node, ...parts);
}

const byId = (id) => document.getElementById(id);

// Characters that do not show, turn the line around, or are half a character: named instead of obeyed.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Surrogate}/gu;

function nameOf(character) {
  return "U+" + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}

// A model's text on one line of a control or a heading, where no element can stand.
function plain(text) {
  return String(text ?? "").replace(UNSEEN, (c) => (/\s/.test(c) ? " " : "\ufffd"));
}

// A model's text as nodes: unseen characters named, what `pattern` matches marked.
function textNodes(text, pattern = null) {
  const nodes = [];
  for (const [part, found] of split(String(text), pattern)) {
    const inner = [];
    for (const [piece, unseen] of split(part, UNSEEN)) {
      if (unseen) inner.push(el("span.unseen", {title: "A character that does not show"}, nameOf(piece)));
      else if (piece) inner.push(document.createTextNode(piece));
    }
    if (found) nodes.push(el("mark", inner));
    else nodes.push(...inner);
  }
  return nodes;
}

function* split(text, pattern) {
  let from = 0;
  if (pattern) {
    for (const match of text.matchAll(pattern)) {
      if (!match[0]) continue;
      if (match.index > from) yield [text.slice(from, match.index), false];
      yield [match[0], true];
      from = match.index + match[0].length;
    }
  }
  if (from < text.length) yield [text.slice(from), false];
}

function announce(text) {
  byId("announcer").textContent = text;
}

function debounced(wait, work) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), wait);
  };
}

// Lets the browser paint and answer before long work goes on.
const breath = () => new Promise((resolve) => setTimeout(resolve, 0));

// A wide table scrolls inside its own frame, which the keyboard reaches.
function scrolling(label, table) {
  return el("div.scroll", {tabindex: "0", role: "region", "aria-label": label}, table);
}

function details(summary, ...children) {
  return el("details", el("summary", summary), children);
}
