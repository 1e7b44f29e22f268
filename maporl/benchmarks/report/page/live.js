// A page that the live server gives out asks it what is new, and takes it in where the reader is: chosen discussion, place and what is open stay.

const ASK = 2000; // milliseconds between questions
const versions = {...figures.live};

async function askForNews() {
  let next = ASK;
  try {
    const answer = await fetch(`/news?${new URLSearchParams(versions)}`, {cache: "no-store"});
    if (!answer.ok) throw new Error(String(answer.status));
    const news = await answer.json();
    if (!reading()) await takeIn(news);
    showPulse("live", "Asks every two seconds for what is new");
  } catch (error) {
    next = 3 * ASK;
    showPulse("disconnected", `The server does not answer (${error.message}); what is shown here stays`);
  }
  setTimeout(askForNews, next);
}

// Somebody is marking text with the mouse: that would be lost.
const reading = () => {
  const chosen = getSelection();
  return chosen && !chosen.isCollapsed && byId("results").contains(chosen.anchorNode);
};

async function takeIn({versions: fresh, parts}) {
  for (const [kind, part] of Object.entries(parts)) {
    if (kind === "figures") continue;
    part.pieces.forEach((piece, number) => blocks.set(`${kind}-${number}`, piece));
    blocks.set(`${kind}-index`, part.index);
  }
  if (parts.figures) {
    for (const name of Object.keys(figures)) delete figures[name];
    Object.assign(figures, parts.figures);
    byId("to-trees").hidden = !figures.trees;
    keepingPlace(byId("results"), showResults);
  }
  if (parts.tokens) await hoard.open();
  if (parts.discussions) await viewer.renew();
  if (parts.trees) await grove.renew();
  Object.assign(versions, fresh);
}

// Draws something again: what is open stays open, what is chosen chosen, and the page where it is.
function keepingPlace(node, draw) {
  const named = (selector, name) => {
    const times = new Map();
    return [...node.querySelectorAll(selector)].map((one) => {
      const key = name(one);
      times.set(key, (times.get(key) ?? 0) + 1);
      return [`${key} ${times.get(key)}`, one];
    });
  };
  const folds = () => named("details", (one) => one.querySelector("summary").textContent.replace(/\d+/g, "#"));
  const menus = () =>
    named("select", (one) =>
      [...one.options]
        .slice(0, 3)
        .map((option) => option.value)
        .join(),
    );
  const open = new Set(
    folds()
      .filter(([, one]) => one.open)
      .map(([key]) => key),
  );
  const chosen = new Map(menus().map(([key, one]) => [key, one.value]));
  const focused = folds().find(([, one]) => one.querySelector("summary") === document.activeElement)?.[0];
  const {scrollX, scrollY} = window;
  draw();
  for (const [key, one] of folds()) {
    if (open.has(key)) one.open = true;
    if (key === focused) one.querySelector("summary").focus({preventScroll: true});
  }
  for (const [key, one] of menus())
    if (chosen.has(key) && chosen.get(key) !== one.value) {
      one.value = chosen.get(key);
      one.dispatchEvent(new Event("change"));
    }
  window.scrollTo(scrollX, scrollY);
}

function showPulse(state, title) {
  const pulse = byId("pulse");
  if (pulse.dataset.state !== state) announce(title);
  pulse.hidden = false;
  pulse.dataset.state = state;
  pulse.title = title;
  pulse.replaceChildren(el("span.wide", state)); // on a phone the dot alone
}

ready.then(askForNews);
