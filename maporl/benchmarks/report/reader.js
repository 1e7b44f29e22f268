// Around the discussions that are read: the line of buttons, the menu of others, a column for each.

function absentNode(partner) {
  const label = figures.cells.find((cell) => cell.method === partner.method)?.label ?? partner.method;
  return el(
    "section.one",
    el(
      "p.empty",
      `${plain(label)}${partner.seed === undefined ? "" : `, seed ${partner.seed}`} did not discuss this question.`,
    ),
  );
}

function sideNode(i, text, options) {
  const verdict = verdictOf(index_(i, "correct"));
  return el(
    `section.one.${verdict.name}`,
    el(
      "header.outcome",
      el("h3", nameOfDiscussion(i)),
      el(
        "p",
        sign(verdict),
        el("b", answerNodes(text.answer)),
        el(
          "span.sub",
          verdict.word,
          text.tied > 1 ? `, ${text.tied} answers tied` : "",
          ` · ${many(index_(i, "tokens"), "token")}`,
        ),
      ),
      ["oracle", "overflow"]
        .filter((flag) => store.has(i, flag))
        .map((flag) => el(`span.badge.${flag}`, {title: CASE.get(flag).about}, flag)),
    ),
    discussionNode(text, options),
  );
}

function toolbarNode() {
  const {list, current} = viewer;
  const button = (name, label, onclick, more = {}) =>
    el("button", {type: "button", title: name, onclick, ...more}, label);
  const place = list.at >= 0 ? `${count(list.at + 1)} of ${count(list.items.length)}` : "not in the list";
  return el(
    "div.toolbar",
    {role: "toolbar", "aria-label": "This discussion"},
    el("button.back", {type: "button", onclick: () => backToList()}, "‹ List"),
    button(
      "Previous (k)",
      [el("span", {"aria-hidden": "true"}, "↑"), el("span.hidden", "Previous")],
      () => viewer.move(-1),
      {disabled: list.at === 0, "data-do": "previous"},
    ),
    button("Next (j)", [el("span", {"aria-hidden": "true"}, "↓"), el("span.hidden", "Next")], () => viewer.move(1), {
      disabled: list.at === list.items.length - 1,
      "data-do": "next",
    }),
    el("span.place", place),
    button("Mark what changed between an agent's messages (c)", "Changes", () => viewer.toggleChanges(), {
      "aria-pressed": String(viewer.changes),
      "data-do": "changes",
    }),
    besideNode(current),
    button("Copy a link to this discussion within this file", "Copy link", copyLink, {"data-do": "link"}),
  );
}

// The menu of all other discussions of the same question.
function besideNode(current) {
  const peers = store.byQuestion[index_(current, "question")].filter((i) => i !== current);
  if (!peers.length) return null;
  const shown = viewer.beside().map(([i]) => i);
  const toggle = (i, on) => {
    const {task, question, ...key} = store.key(i);
    const rest = viewer
      .beside()
      .filter(([other]) => other !== i)
      .map(([, partner]) => partner);
    viewer.partners = on ? [...rest, key] : rest;
    rememberPlace();
    viewer.draw();
  };
  const item = (i) =>
    el(
      "li",
      el(
        "label",
        el("input", {
          type: "checkbox",
          "data-do": `beside-${i}`,
          checked: shown.includes(i),
          onchange: (event) => toggle(i, event.target.checked),
        }),
        sign(verdictOf(index_(i, "correct"))),
        el("span", nameOfDiscussion(i)),
        el("span.sub", answerNodes(store.answer(i))),
      ),
    );
  return el(
    "details.beside",
    el("summary", {"data-do": "beside"}, "Side by side", shown.length ? ` (${shown.length})` : ""),
    el("ul", {"aria-label": "Discussions of the same question"}, peers.map(item)),
  );
}

function backToList() {
  byId("viewer").classList.remove("reading");
  byId("list").focus();
}

async function copyLink() {
  rememberPlace();
  try {
    await navigator.clipboard.writeText(location.href);
    announce("Link copied");
    byId("reader").querySelector("[data-do=link]").textContent = "Copied";
  } catch {
    announce("The link is in the address bar");
    byId("reader").querySelector("[data-do=link]").textContent = "See the address bar";
  }
}
