// Starts the page: results at once, discussions when the whole file is read; views, links and keys.

const KEYS = [
  ["j or ↓", "next discussion or tree"],
  ["k or ↑", "previous discussion or tree"],
  ["/", "search"],
  ["c", "mark changes, or not"],
  ["r", "results"],
  ["d", "discussions"],
  ["t", "trees, where a run kept some"],
  ["Esc", "back to the list, or out of a field"],
  ["?", "this list"],
];

function showResults() {
  byId("title").textContent = byId("brand").textContent = document.title = plain(figures.title);
  const cells = figures.cells.filter((cell) => !cell.run_name);
  const [tasks, labels] = ["task", "label"].map((name) => [...new Set(cells.map((cell) => cell[name]))]);
  const runs = plainRuns();
  const seeds = new Set(cells.map((cell) => cell.seed)).size;
  const held = [
    cells.length ? `${many(labels.length, "method")} on ${tasks.map(plain).join(", ")}, ${many(seeds, "seed")}` : "",
    runs.length > 1 || cells.length ? (runs.length ? many(runs.length, "run") : "") : "",
    many(figures.discussions, "discussion"),
    figures.trees ? many(figures.trees, "tree") : "",
  ].filter(Boolean);
  byId("lead").replaceChildren(
    el(
      "p.lead",
      figures.cells.length ? `${capital(held.join(", "))}. ` : "These results hold nothing yet. ",
      `Built ${plain(figures.built)
        .replace("T", " ")
        .replace(/\+00:00$/, " UTC")} by maporl ${plain(figures.version)}.`,
    ),
  );
  byId("notes").replaceChildren(...notesNodes());
  const groups = comparedTasks();
  const places = [
    ...groups.map((task, k) => [`#task-${k}`, task]),
    ...runs.map((run, k) => [`#run-${k}`, run.name]),
  ];
  const jumps =
    places.length > 1
      ? el(
          "nav.jumps",
          {"aria-label": runs.length ? "Tasks and runs" : "Tasks"},
          places.map(([href, name]) => el("a", {href}, plain(name))),
        )
      : "";
  byId("tasks").replaceChildren(jumps, ...groups.map(taskNode), pooledNode() ?? "", ...runs.map(runNode));
  byId("made").replaceChildren(settingsNode());
}

// Tasks on which there is something to compare: a study's, and those of several runs.
function comparedTasks() {
  const tasks = [...new Set([...figures.cells, ...figures.summary].map((one) => one.task))];
  return tasks.filter((task) => {
    const cells = figures.cells.filter((cell) => cell.task === task);
    return new Set(cells.map((cell) => cell.run_name)).size > 1 || !cells.every((cell) => cell.run_name);
  });
}

function notesNodes() {
  const names = {failed: "Failed", running: "Not finished", waiting: "Not started", "left out": "Left out"};
  return Object.entries(names).flatMap(([kind, name]) => {
    const notes = figures.notes.filter((note) => note.kind === kind);
    if (!notes.length || (alone() && kind === "running")) return []; // its own line says how it stands
    const items = el(
      "ul",
      notes.map((note) => el("li", textNodes(note.text))),
    );
    return el(
      `section.notes.${kind.replace(" ", "-")}`,
      {"aria-label": name},
      el("h2", name),
      notes.length > 6 ? details(many(notes.length, "entry", "entries"), items) : items,
    );
  });
}

function taskNode(task, number) {
  const rows = figures.summary.filter((row) => row.task === task);
  const questions = Math.max(0, ...rows.map((row) => row.questions ?? 0));
  return el(
    "section.task",
    {id: `task-${number}`, "aria-label": plain(task)},
    el("h2", plain(task), questions ? el("span.sub", many(questions, "question")) : null),
    fairPlot(task),
    rows.length
      ? [
          el("h3", "All methods"),
          el(
            "p.note",
            "Bars are 95 % intervals over questions, ticks the seeds. ",
            rows.some((row) => row.matched?.length) ? "A vote stands under the team whose tokens it spends. " : "",
            "Click a heading to sort.",
          ),
          summaryTable(task, rows),
          comparisonsTable(task),
        ]
      : el("p.empty", "No method of this task has results yet."),
    el("div.plots", plotsOf(task)),
    collaborationTable(task),
    flipMatrices(task),
  );
}

function settingsNode() {
  const first = ["command", "started", "machine", "python", "versions"]; // before what was asked for
  const rank = ([name]) => (first.indexOf(name) + first.length + 1) % (first.length + 1);
  const entries = Object.entries(figures.settings)
    .filter(([, value]) => value !== "" && value !== null)
    .sort((a, b) => rank(a) - rank(b));
  if (!entries.length) return el("p");
  return el(
    "section",
    {"aria-label": "How this was made"},
    el("h2", "How this was made"),
    el(
      "dl.settings",
      entries.map(([name, value]) => el("div", el("dt", plain(name)), el("dd", settingNode(value)))),
    ),
  );
}

// A setting's value: what is simple on one line, what is nested as JSON.
function settingNode(value) {
  const simple = (item) => item === null || typeof item !== "object";
  const word = (item) => (item === null || item === "" ? "none" : String(item));
  if (simple(value)) return textNodes(word(value));
  const parts = Array.isArray(value) ? value.map((item) => ["", item]) : Object.entries(value);
  if (!parts.every(([, item]) => simple(item))) return el("pre", textNodes(JSON.stringify(value, null, 2)));
  return textNodes(parts.map(([name, item]) => `${name} ${word(item)}`.trim()).join(", ") || "none");
}

// Views and links. "#results", "#discussions", "#list=1&method=…" (the list, filtered), a discussion's key, "#trees" or a tree's.

const VIEWS = ["results", "discussions", "trees"];

function show(view) {
  for (const name of VIEWS) {
    byId(name).hidden = name !== view;
    byId(`to-${name}`)[name === view ? "setAttribute" : "removeAttribute"]("aria-current", "page");
  }
  document.documentElement.dataset.view = view;
  if (view === "results") document.title = plain(figures.title);
}

async function follow() {
  const place = new URLSearchParams(location.hash.slice(1));
  if (place.has("tree") || location.hash === "#trees") {
    show("trees");
    await grown;
    return grove.follow(place);
  }
  if (!place.has("question") && !place.has("list") && location.hash !== "#discussions") return show("results");
  show("discussions");
  await ready;
  if (!viewer.list) return;
  if (place.has("list")) {
    viewer.criteria = {...ANY, ...Object.fromEntries([...place].filter(([name]) => name in ANY))};
    showCriteria();
    viewer.current = null;
    viewer.partners = place.get("other") ? [{method: place.get("other")}] : [];
    return viewer.filter();
  }
  if (!place.has("question")) return viewer.list.draw();
  const found = store.find(Object.fromEntries(place));
  if (found === null) {
    byId("reader").replaceChildren(el("p.empty", "The discussion of this link is not in this file."));
    return announce("The discussion of this link is not in this file.");
  }
  viewer.partners = place.getAll("with").map((partner) => Object.fromEntries(new URLSearchParams(partner)));
  if (!viewer.list.items.includes(found)) {
    viewer.criteria = {...ANY};
    showCriteria();
    viewer.current = found;
    await viewer.filter();
  }
  return viewer.open(found);
}

// What is read one by one in this view, once it is there.
const shown = () => [viewer, grove].find((one) => one.list && !one.frame.parentElement.hidden);

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const field = event.target.closest?.("input[type=search], select, textarea");
  if (event.key === "Escape") {
    const menu = document.querySelector("details.beside[open]");
    if (field) field.blur();
    else if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    } else if (shown()?.frame.classList.contains("reading")) backToList(shown());
    return;
  }
  if (field) return;
  const reading = shown();
  const free = reading && !event.target.closest?.(".reader, details");
  const act = {
    j: reading && (() => reading.move(1)),
    k: reading && (() => reading.move(-1)),
    ArrowDown: free && (() => reading.move(1)),
    ArrowUp: free && (() => reading.move(-1)),
    c: reading === viewer && viewer.current !== null && (() => viewer.toggleChanges()),
    "/": async () => {
      if (byId("discussions").hidden) location.hash = "#discussions";
      await ready;
      show("discussions");
      viewer.frame.classList.remove("reading");
      byId("filters").elements.query.focus();
    },
    r: () => (location.hash = "#results"),
    d: () => (location.hash = "#discussions"),
    t: figures.trees > 0 && (() => (location.hash = "#trees")),
    "?": openHelp,
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

function openHelp() {
  byId("help").replaceChildren(
    el("h2", {id: "help-title"}, "Keys"),
    el(
      "dl",
      KEYS.map(([key, what]) => el("div", el("dt", el("kbd", key)), el("dd", what))),
    ),
    el("form", {method: "dialog"}, el("button", "Close")),
  );
  byId("help").showModal();
}

// "auto" follows the system.
function theme(wanted) {
  const root = document.documentElement;
  let saved = null;
  try {
    if (wanted) localStorage.setItem("maporl-theme", wanted);
    saved = localStorage.getItem("maporl-theme");
  } catch {} // a browser that keeps nothing for files
  const now = wanted ?? saved ?? "auto";
  root.dataset.theme = now;
  byId("theme").replaceChildren(el("span.wide", "Theme: "), now);
  byId("theme").setAttribute("aria-label", `Theme: ${now}`);
}

const NEXT_THEME = {auto: "dark", dark: "light", light: "auto"};
const loaded = new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve)).then(breath);
const ready = loaded
  .then(() => Promise.all([store.open(), hoard.open()]))
  .then(() => viewer.start())
  .catch((error) => {
    byId("count").textContent =
      `The discussions cannot be read (${plain(error.message)}); is the file whole? Build it again with maporl report.`;
    byId("reader").replaceChildren();
  });
const grown = loaded
  .then(() => grove.start())
  .catch((error) => {
    byId("tree-reader").replaceChildren(
      el("p.empty", `The trees cannot be read (${plain(error.message)}); is the file whole? Build it again with maporl report.`),
    );
  });

theme();
showResults();
byId("to-trees").hidden = !figures.trees;
byId("to-results").textContent = alone() ? "Run" : "Results";
byId("theme").addEventListener("click", () => theme(NEXT_THEME[document.documentElement.dataset.theme]));
byId("keys").addEventListener("click", openHelp);
document.querySelector(".skip").addEventListener("click", (event) => (event.preventDefault(), byId("main").focus()));
document.addEventListener("keydown", pressed);
window.addEventListener("hashchange", follow);
follow();
