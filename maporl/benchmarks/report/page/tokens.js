// What the model read and wrote, token by token, of discussions that were kept with that: unpacked when somebody asks.

const hoard = {
  of: null, // number of a discussion -> place of its tokens
  pieces: null,

  async open() {
    const index = await unpack("tokens-index");
    this.pieces = new Pieces("tokens", index.starts);
    this.of = new Map(index.of.map((discussion, place) => [discussion, place]));
  },

  has(i) {
    return this.of?.has(i) ?? false;
  },

  async turn(i, k) {
    const {words, turns} = await this.pieces.text(this.of.get(i));
    if (!turns[k]) return null;
    const [read, written, logprobs, advantages, forced] = turns[k];
    const token = (number) => ({id: words[number][0], text: words[number][1], special: words[number][2] === 1});
    return {
      read: read.map(token),
      written: written.map((number, place) => ({
        ...token(number),
        logprob: logprobs[place],
        advantage: advantages ? (advantages[place] ?? (advantages.length === 1 ? advantages[0] : null)) : null,
        forced: forced.includes(place),
      })),
    };
  },
};

// The button under message k of discussion i; what it opens stands below the message.
function tokensNode(i, k) {
  const holder = el("div.tokens");
  const button = el("button.more", {type: "button", "aria-expanded": "false", "data-tokens": k}, "Prompt and tokens");
  button.addEventListener("click", async () => {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) return holder.replaceChildren();
    const turn = await hoard.turn(i, k);
    holder.replaceChildren(
      ...(turn
        ? [readNode(turn.read), writtenNode(turn.written)]
        : [el("p.note", "Nothing was sampled for this message.")]),
    );
  });
  return [button, holder];
}

const VISIBLE = {"\n": "↵\n", "\t": "⇥\t", "\r": "␍"};
const spelled = (text) => textNodes(text.replace(/[\n\t\r]/g, (c) => VISIBLE[c]));

function readNode(read) {
  const nodes = [];
  let run = "";
  const flush = () => (run && nodes.push(...spelled(run)), (run = ""));
  for (const {text, special, id} of read) {
    if (!special) run += text;
    else flush(), nodes.push(el("span.special", {title: `control token ${id}`}, spelled(text)));
  }
  flush();
  return el(
    "section",
    el("h6", `Read: ${many(read.length, "token")}`),
    el("div.stream", {dir: "auto", tabindex: "0", role: "region", "aria-label": "What the model read"}, nodes),
  );
}

// Colours: the less likely, or the better and the worse, the deeper.
const HUES = {
  "log-prob": (token) => (known(token.logprob) && !token.forced ? ["odd", Math.min(1, -token.logprob / 4)] : null),
  advantage: (token, most) =>
    known(token.advantage) && most ? [token.advantage < 0 ? "bad" : "good", Math.abs(token.advantage) / most] : null,
};

function writtenNode(written) {
  const most = Math.max(...written.map((token) => Math.abs(token.advantage ?? 0)));
  const fact = el("p.fact", {"aria-live": "polite"}, "Point at a token, or go through them with the arrow keys.");
  const spans = written.map((token, k) =>
    el(
      token.special ? "span.token.special" : "span.token",
      {"data-k": k, title: tellingOf(token)},
      spelled(token.text),
    ),
  );
  const stream = el(
    "div.stream",
    {dir: "auto", tabindex: "0", role: "group", "aria-label": "What the model wrote"},
    spans,
  );
  let at = -1;
  const tell = (k) => {
    spans[at]?.classList.remove("here");
    at = Math.min(Math.max(k, 0), spans.length - 1);
    spans[at].classList.add("here");
    fact.replaceChildren(...textNodes(tellingOf(written[at])));
  };
  const pointed = (event) => {
    const found = event.target.closest?.("[data-k]");
    if (found) tell(Number(found.dataset.k));
  };
  stream.addEventListener("pointerover", pointed);
  stream.addEventListener("click", pointed);
  stream.addEventListener("keydown", (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity}[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    tell(at < 0 ? 0 : at + step);
  });
  const paint = (by) =>
    written.forEach((token, k) => {
      const [kind, depth] = HUES[by](token, most) ?? ["", 0];
      spans[k].classList.remove("odd", "good", "bad");
      if (kind) spans[k].classList.add(kind);
      spans[k].style.setProperty("--heat", depth.toFixed(3));
    });
  const choices = Object.keys(HUES).filter((by) => by !== "advantage" || most > 0);
  const select = el(
    "select",
    {onchange: () => paint(select.value)},
    choices.map((by) => el("option", {value: by}, by)),
  );
  paint("log-prob");
  const heads = ["Token", "Id", "Log-prob", "Probability", "Advantage"];
  const rows = written.map((token) => [
    shownToken(token),
    String(token.id),
    token.forced ? "forced" : figure(token.logprob, 4),
    token.forced ? "–" : figure(Math.exp(token.logprob), 4),
    signedFigure(token.advantage),
  ]);
  return el(
    "section",
    el(
      "h6",
      `Wrote: ${many(written.length, "token")}`,
      choices.length > 1 ? el("label.choose", "Colour ", select) : null,
    ),
    stream,
    fact,
    details("As a table", tableOf("Tokens of this message", heads, rows)),
  );
}

const shownToken = ({text}) => plain(text.replace(/[\n\t\r]/g, (c) => VISIBLE[c][0]).replaceAll(" ", "␣"));
const signedFigure = (value) => (known(value) ? (value > 0 ? "+" : "") + figure(value, 4) : "–");

function tellingOf(token) {
  const parts = [`${shownToken(token)} (${token.id})`];
  if (token.forced) parts.push("put there to close the reasoning");
  else parts.push(`log-prob ${figure(token.logprob, 4)}`, `probability ${figure(Math.exp(token.logprob), 4)}`);
  if (known(token.advantage)) parts.push(`advantage ${signedFigure(token.advantage)}`);
  return parts.join(" · ");
}
