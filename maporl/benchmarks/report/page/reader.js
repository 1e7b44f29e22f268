// Around the discussions that are read: the line of buttons, the menu of others, a column for each.

function absentNode(partner) {
  const label = figures.cells.filter((cell) => cell.method === partner.method).map(labelOfCell)[0] ?? partner.method;
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
    text.answer?.includes("\n") ? details("The team's answer", codeNode(text.answer, options)) : null,
    discussionNode(text, {...options, number: i}),
  );
}

// Buttons over what is read; `of` is the viewer of discussions, or of trees.
function toolbarNode(of, label, ...more) {
  const {list} = of;
  const step = (by, name, arrow, key, last) =>
    el(
      "button",
      {
        type: "button",
        title: `${name} (${key})`,
        onclick: () => of.move(by),
        disabled: list.at === last,
        "data-do": name.toLowerCase(),
      },
      el("span", {"aria-hidden": "true"}, arrow),
      el("span.hidden", name),
    );
  return el(
    "div.toolbar",
    {role: "toolbar", "aria-label": label},
    el("button.back", {type: "button", onclick: () => backToList(of)}, "‹ List"),
    step(-1, "Previous", "↑", "k", 0),
    step(1, "Next", "↓", "j", list.items.length - 1),
    el("span.place", list.at >= 0 ? `${count(list.at + 1)} of ${count(list.items.length)}` : "not in the list"),
    more,
    toolNode("link", "Copy a link to this within this file", "Copy link", () => copyLink(of)),
  );
}

const toolNode = (name, title, label, onclick, more = {}) =>
  el("button", {type: "button", title, onclick, "data-do": name, ...more}, label);

const changesNode = () =>
  toolNode(
    "changes",
    "Mark what changed between an agent's messages (c)",
    "Changes",
    () => viewer.toggleChanges(),
    {"aria-pressed": String(viewer.changes)},
  );

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
    viewer.remember();
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

function backToList(of) {
  of.frame.classList.remove("reading");
  of.list.holder.focus();
}

async function copyLink(of) {
  of.remember();
  const button = of.frame.querySelector("[data-do=link]");
  try {
    await navigator.clipboard.writeText(location.href);
    announce("Link copied");
    button.textContent = "Copied";
  } catch {
    announce("The link is in the address bar");
    button.textContent = "See the address bar";
  }
}
