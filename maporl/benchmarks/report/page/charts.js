// Plots as inline SVG: scales, axes, lines, and the same numbers as a table for whoever cannot see them.

// Every method keeps one colour and one mark on the whole page.
const PALETTE = 8;
const tint = (method) => `tint-${(figures.looks[method] ?? 0) % PALETTE}`;

function linear(from, to, start, end) {
  const slope = (end - start) / (to - from || 1);
  return Object.assign((value) => start + (value - from) * slope, {ticks: linearTicks(from, to)});
}

function logarithmic(from, to, start, end) {
  const scale = linear(Math.log10(from), Math.log10(to), start, end);
  const ticks = [];
  for (let power = Math.floor(Math.log10(from)); power <= Math.log10(to); power++) {
    for (const digit of [1, 2, 5]) {
      const tick = digit * 10 ** power;
      if (tick >= from && tick <= to) ticks.push(tick);
    }
  }
  return Object.assign((value) => scale(Math.log10(value)), {ticks});
}

function linearTicks(from, to, wanted = 5) {
  const raw = (to - from) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((digit) => digit * power).find((size) => size >= raw * 0.999);
  const ticks = [];
  for (let k = Math.ceil(from / step - 1e-9); k * step <= to + step * 1e-6; k++) ticks.push(k * step);
  return ticks;
}

// A domain around `values` with round ends; shares stay within 0 and 1.
function around(values, {share = false, least = 0} = {}) {
  const seen = values.filter(known);
  if (!seen.length) return [0, 1];
  let low = Math.min(...seen);
  let high = Math.max(...seen);
  const room = Math.max(
    (least - (high - low)) / 2,
    (high - low) * 0.06,
    high === low ? Math.abs(high) * 0.1 || 0.1 : 0,
  );
  [low, high] = [low - room, high + room];
  // What a verifier calls a share may lie beyond 0 and 1.
  return share ? [Math.max(Math.min(0, ...seen), low), Math.min(Math.max(1, ...seen), high)] : [low, high];
}

// A figure with a heading, the drawing (made anew when its width changes) and the data as a table.
// draw(width) -> {height, nodes}
function plot({title, note, description, height, draw, table, legend = null}) {
  const id = `plot-${(plot.number = (plot.number ?? 0) + 1)}`;
  const frame = el("div.drawing");
  frame.style.minHeight = `${height}px`; // so that nothing moves when it is drawn
  const box = el(
    "figure.plot",
    {"aria-labelledby": id},
    el("figcaption", el("h3", {id}, title), note ? el("p.note", note) : null),
    legend,
    frame,
  );
  if (table) box.append(details("The same as a table", table));
  let width = 0;
  const redraw = () => {
    const now = Math.floor(frame.clientWidth);
    if (!now || now === width) return;
    width = now;
    const {height, nodes} = draw(width);
    const names = [svg("title", title), svg("desc", description)];
    frame.replaceChildren(svg("svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "img"}, names, nodes));
  };
  new ResizeObserver(redraw).observe(frame);
  return box;
}

const SHAPES = [
  (x, y, r) => svg("circle", {cx: x, cy: y, r}),
  (x, y, r) => svg("rect", {x: x - r * 0.9, y: y - r * 0.9, width: 1.8 * r, height: 1.8 * r}),
  (x, y, r) => svg("path", {d: `M${x} ${y - 1.2 * r}L${x + 1.15 * r} ${y + 0.9 * r}H${x - 1.15 * r}Z`}),
  (x, y, r) => svg("path", {d: `M${x} ${y - 1.3 * r}L${x + 1.3 * r} ${y}L${x} ${y + 1.3 * r}L${x - 1.3 * r} ${y}Z`}),
];

// The mark of a method: its colour and shape; hollow for an oracle.
function mark(method, x, y, r, {hollow = false, title = ""} = {}) {
  const number = figures.looks[method] ?? 0;
  const shape = SHAPES[(number + Math.floor(number / PALETTE)) % SHAPES.length](x, y, r); // 32 different marks
  shape.setAttribute("class", `mark ${tint(method)}${hollow ? " hollow" : ""}`);
  if (title) shape.append(svg("title", title));
  return shape;
}

function legendOf(entries) {
  const item = ({method, label, hollow}) =>
    el(
      "li",
      svg("svg", {width: 14, height: 14, "aria-hidden": "true"}, mark(method, 7, 7, 4.5, {hollow})),
      plain(label),
    );
  return el("ul.legend", entries.map(item));
}

function tableOf(caption, heads, rows) {
  const head = el(
    "thead",
    el(
      "tr",
      heads.map((text) => el("th", {scope: "col"}, text)),
    ),
  );
  const cell = (text, k) => (k ? el("td", text) : el("th", {scope: "row"}, plain(text)));
  const body = el(
    "tbody",
    rows.map((row) => el("tr", row.map(cell))),
  );
  return scrolling(caption, el("table.plain", el("caption.hidden", caption), head, body));
}
