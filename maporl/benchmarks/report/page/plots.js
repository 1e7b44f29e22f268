// The plots: drawn from the same descriptions as the files beside the page (kinds of axes, series, intervals, styles).

const MARGIN = {left: 64, top: 26, bottom: 40, right: 12};
const LISTED = 12; // points of a line that a table still holds one by one

const labelOf = (task, method) =>
  figures.summary.find((row) => row.method === method && (!task || row.task === task))?.label ??
  figures.cells.filter((cell) => cell.method === method).map(labelOfCell)[0] ??
  method;

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const nameOfAxis = ({label, kind}) => capital(label) + ({share: label ? ", %" : "%", log: ", logarithmic"}[kind] ?? "");

// How values of an axis are written, as ticks and exactly.
const SHOW = {
  share: [(value) => percent(value, 0), percent],
  number: [sized, sized],
  count: [count, count],
  log: [count, count],
};

// The plots of a task ("" for all tasks); those that differ in what a reader chooses are one.
function plotsOf(task) {
  const groups = Map.groupBy(
    figures.plots.filter((one) => one.task === task),
    (one) => one.title + one.panel,
  );
  return [...groups.values()].map((choices) => (choices[0].choice ? chosenPlot(choices) : plotOf(choices[0])));
}

function chosenPlot(choices) {
  const holder = el("div");
  const show = (choice) =>
    holder.replaceChildren(
      plotOf(
        choices.find((one) => one.choice === choice),
        chooser,
      ),
    );
  const select = el(
    "select",
    {onchange: () => (show(select.value), select.focus())},
    choices.map((one) => el("option", {value: one.choice}, plain(capital(one.y.label)))),
  );
  const chooser = el("label.choose", "Metric ", select);
  show(choices[0].choice);
  return holder;
}

const HEIGHT = 310; // of a drawing, in pixels

function plotOf(one, chooser = null, height = HEIGHT) {
  const label = (series) => plain(series.label || labelOf(one.task, series.method));
  const marked = one.series.filter((series) => series.method && !["thin", "dashed"].includes(series.style));
  const entries = new Map(marked.map((series) => [series.method, {...series, label: label(series)}]));
  const title = one.panel ? `${one.title}: ${plain(labelOf(one.task, one.panel))}` : one.title;
  return plot({
    title,
    note: one.key ? `${capital(one.key)}.` : null,
    description: `${capital(one.y.label || one.title)} by ${one.x.label}, ${many(entries.size, "line")}.`,
    height,
    draw: (width) => drawn(one, width, height, label),
    legend: [chooser, one.panel || (height < HEIGHT && entries.size < 2) ? null : legendOf([...entries.values()])],
    table: plotTable(one, title, label),
  });
}

function scalesOf({x, y, series}, width, height) {
  const xs = series.flatMap((one) => one.points.map(([a]) => a));
  const ys = series.flatMap((one) => [...one.points.map(([, b]) => b), ...one.low, ...one.high]);
  const [from, to] = [Math.min(...xs), Math.max(...xs)];
  const ends = {share: [0, 1], log: [from / 1.4, to * 1.4]}[x.kind] ?? [from, to];
  const across = (x.kind === "log" ? logarithmic : linear)(...ends, MARGIN.left + 8, width - MARGIN.right);
  if (x.kind === "count") across.ticks = across.ticks.filter(Number.isInteger);
  const up = around(ys, {share: y.kind === "share", least: y.kind === "share" ? 0.1 : 0});
  return [across, linear(...up, height - MARGIN.bottom, MARGIN.top)];
}

function drawn(one, width, height, label) {
  const [x, y] = scalesOf(one, width, height);
  const [xShow, yShow] = [SHOW[one.x.kind], SHOW[one.y.kind]];
  const nodes = axes({
    x,
    y,
    width,
    height,
    xLabel: nameOfAxis(one.x),
    yLabel: nameOfAxis(one.y),
    xShow: xShow[0],
    yShow: yShow[0],
  });
  for (const series of one.series) {
    const {method, points: values, style, low, high, hollow, detail} = series;
    const colour = tint(method);
    const name = [label(series), detail].filter(Boolean).join(", ");
    const line = (ends) => path(style === "steps" ? stepped(ends) : ends, x, y);
    if (low.length && style === "marks")
      values.forEach(([a], k) =>
        nodes.push(svg(`line.whisker.${colour}`, {x1: x(a), x2: x(a), y1: y(low[k]), y2: y(high[k])})),
      );
    else if (low.length) {
      const [under, over] = [low, high].map((ends) => values.map(([a], k) => [a, ends[k]]));
      nodes.push(svg(`path.band.${colour}`, {d: `${line(over)}${line(under.reverse()).replace("M", "L")}Z`}));
    }
    if (style !== "marks") {
      const kind = method ? ({thin: "thin", dashed: "dashed", plain: "even"}[style] ?? "bold") : "front";
      nodes.push(svg(`path.${kind}.${colour}`, {d: line(values)}, svg("title", name)));
    }
    if (!method || ["thin", "dashed", "plain"].includes(style)) continue;
    const every = Math.ceil(values.length / 8) || 1;
    values.forEach(([a, b], k) => {
      const title = `${name}: ${yShow[1](b)} at ${xShow[1](a)}`;
      if (k % every === 0) nodes.push(mark(method, x(a), y(b), style === "marks" ? 5 : 3.5, {hollow, title}));
    });
  }
  return {height, nodes};
}

// A value holds until the next one.
function stepped(values) {
  return values.flatMap(([a, b], k) =>
    k
      ? [
          [a, values[k - 1][1]],
          [a, b],
        ]
      : [[a, b]],
  );
}

function axes({x, y, width, height, xLabel, yLabel, xShow, yShow}) {
  const base = height - MARGIN.bottom;
  const nodes = [];
  for (const tick of y.ticks) {
    nodes.push(svg("line.grid", {x1: MARGIN.left, x2: width, y1: y(tick), y2: y(tick)}));
    nodes.push(svg("text.tick", {x: MARGIN.left - 8, y: y(tick) + 4, "text-anchor": "end"}, yShow(tick)));
  }
  for (const tick of x.ticks) {
    nodes.push(svg("line.notch", {x1: x(tick), x2: x(tick), y1: base, y2: base + 4}));
    const last = x(tick) > width - 20; // its middle would leave the drawing
    nodes.push(svg("text.tick", {x: last ? width : x(tick), y: base + 18, "text-anchor": last ? "end" : "middle"}, xShow(tick)));
  }
  nodes.push(svg("line.base", {x1: MARGIN.left, x2: width, y1: base, y2: base}));
  nodes.push(svg("text.axis", {x: (MARGIN.left + width) / 2, y: height - 4, "text-anchor": "middle"}, xLabel));
  nodes.push(svg("text.axis", {x: 0, y: 12}, yLabel));
  return nodes;
}

const path = (values, x, y) =>
  values.map(([a, b], k) => `${k ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");

// Every point of short series; of long ones their ends.
function plotTable({x, y, series}, caption, label) {
  const shown = series.filter((one) => one.method);
  const [xShow, yShow] = [SHOW[x.kind][1], SHOW[y.kind][1]];
  const value = nameOfAxis(y) || "Value";
  if (shown.some((one) => one.points.length > LISTED)) {
    const lines = shown.map((one) => {
      const values = one.points.map(([, b]) => b);
      const told = values.length ? [values[0], values.at(-1), Math.max(...values)] : [null, null, null];
      return [label(one), one.detail, count(values.length), ...told.map(yShow)];
    });
    return tableOf(`${caption}: ${value}`, ["Line", "", "Points", "First", "Last", "Highest"], lines);
  }
  const interval = shown.some((one) => one.low.length && one.style === "marks");
  const lines = shown.flatMap((one) =>
    one.points.map(([a, b], k) => [
      label(one),
      one.detail,
      xShow(a),
      yShow(b),
      ...(interval ? [range(one.low[k], one.high[k], yShow) || "–"] : []),
    ]),
  );
  const heads = ["Line", "", capital(x.label), value, ...(interval ? ["95 % interval"] : [])];
  return tableOf(caption, heads, lines);
}
