// One tree: all of it at a glance, and its messages, a line each, under the ones that they answer.

const AT_ONCE = 60; // lines that are open at first
const LEVEL = 24; // pixels of a level of the drawing

// What is unpacked as nodes that know their children; the same object when it is asked for again.
function treeOf(text, number) {
  if (text.under) return text;
  text.nodes.forEach((node, k) => Object.assign(node, {number: k, said: node.said.map(turnOf), children: []}));
  const roots = [];
  for (const node of text.nodes) (text.nodes[node.parent]?.children ?? roots).push(node);
  text.under = (parent) => (parent < 0 ? roots : text.nodes[parent].children);
  text.nameOf = (node) => [number, ...node.branch].join(".");
  text.levels = Math.max(0, ...text.nodes.map((node) => node.branch.length));
  return text;
}

// The numbers of the nodes that are open at first: as many whole levels as are read at once.
function openedAtFirst(tree) {
  const open = new Set();
  for (let level = 1; level < tree.levels; level++) {
    const more = tree.nodes.filter((node) => node.branch.length === level && node.children.length);
    const wider = new Set([...open, ...more.map((node) => node.number)]);
    if (linesOf(tree, wider).length > AT_ONCE) break;
    more.forEach((node) => open.add(node.number));
  }
  return open;
}

// [{nodes, level, at, of}]: the lines that show; equal leaves share one.
function linesOf(tree, open, parent = -1, level = 1) {
  const groups = alike(tree.under(parent));
  return groups.flatMap((nodes, k) => [
    {nodes, level, at: k + 1, of: groups.length},
    ...(open.has(nodes[0].number) ? linesOf(tree, open, nodes[0].number, level + 1) : []),
  ]);
}

function lineNode(tree, {nodes, level, at, of}, {open, current}) {
  const [node] = nodes;
  const inner = node.children.length > 0;
  const here = nodes.some((one) => one.number === current);
  const line = el(
    "div.branch",
    {
      role: "treeitem",
      "aria-level": level,
      "aria-posinset": at,
      "aria-setsize": of,
      "aria-expanded": inner ? String(open.has(node.number)) : null,
      "aria-selected": String(here),
      tabindex: here ? "0" : "-1",
      "data-node": node.number,
      onclick: (event) => {
        if (event.target.closest(".fold") && inner) grove.fold(node.number);
        else grove.select(node.number);
      },
    },
    el(
      "span.name",
      el("span.fold", {"aria-hidden": "true"}, inner ? (open.has(node.number) ? "▾" : "▸") : ""),
      tree.nameOf(node),
      nodes.length > 1 ? ` ×${nodes.length}` : "",
    ),
    valueNode(node.value),
    outcomeNode(node),
    el("span.pairs", node.marks.map(markNode)),
    el(
      "span.words",
      node.said.map((turn) =>
        el("span", el("b", el("bdi", plain(turn.agent))), " ", el("bdi", plain(turn.text.slice(0, 200)) || "(empty)")),
      ),
    ),
  );
  line.style.setProperty("--level", level);
  return line;
}

// Levels from top to bottom, every node over its children: as wide as what follows from it, coloured by its value.
function drawingNode(tree) {
  const frame = el("div.drawing.levels");
  let width = 0;
  const redraw = () => {
    const now = Math.floor(frame.clientWidth);
    if (!now || now === width) return;
    width = now;
    const all = tree.under(-1).reduce((sum, node) => sum + node.leaves, 0) || 1;
    const nodes = [];
    const place = (node, from, level) => {
      const x = (from / all) * width;
      const wide = (node.leaves / all) * width;
      nodes.push(blockNode(tree, node, x, (level - 1) * LEVEL, wide));
      node.children.reduce((sum, child) => (place(child, sum, level + 1), sum + child.leaves), from);
    };
    tree.under(-1).reduce((sum, node) => (place(node, sum, 1), sum + node.leaves), 0);
    const height = tree.levels * LEVEL;
    frame.replaceChildren(
      svg("svg", {viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true"}, nodes),
    );
    markBlock(frame, grove.node);
  };
  new ResizeObserver(redraw).observe(frame);
  return frame;
}

function blockNode(tree, node, x, y, wide) {
  const marks = node.marks.map((mark) => SIGNS[mark]).join("");
  const value = valueText(node.value);
  const leaf = !node.children.length; // its colour says what it is worth
  const words = [`${value} ${marks}`.trim(), leaf ? marks : "", value, value.replace(/^0|(?<=1\.0)0$/, ""), marks];
  const text = words.find((word) => word && wide > 5 + 6.5 * word.length);
  const name = leaf && known(node.right) ? verdictOf(node.right).name : "inner";
  const agents = node.said.map((turn) => plain(turn.agent));
  const about = [tree.nameOf(node), ...agents, `value ${value}`, ...node.marks.filter(Boolean)];
  const gap = wide > 4 ? 1 : 0.3;
  return heated(
    svg(
      `g.block.${name}`,
      {"data-node": node.number, onclick: () => grove.select(node.number)},
      svg("title", about.join(", ") + (name === "inner" ? "" : `, ${name}`)),
      svg("rect", {x: x + gap / 2, y: y + 1, width: Math.max(wide - gap, 0.5), height: LEVEL - 2}),
      text ? svg("text", {x: x + wide / 2, y: y + LEVEL / 2 + 4, "text-anchor": "middle"}, text) : null,
    ),
    node.value,
  );
}

function markBlock(frame, number) {
  frame.querySelector(".block.here")?.classList.remove("here");
  frame.querySelector(`.block[data-node="${number}"]`)?.classList.add("here");
}
