// What the page holds: figures at once, the index of discussions when the page is read, texts when they are asked for.

const figures = JSON.parse(byId("figures").textContent);

const blocks = new Map(); // what a live page was told since it was loaded: id -> packed

async function unpack(id) {
  const packed = blocks.get(id) ?? byId(id).textContent;
  const bytes = Uint8Array.fromBase64
    ? Uint8Array.fromBase64(packed)
    : Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// Texts of a kind ("discussions", "trees"), unpacked in pieces of many.
class Pieces {
  // starts: the number of the first text of each piece
  constructor(kind, starts) {
    Object.assign(this, {kind, starts});
    this.unpacked = new Map(); // number of a piece -> promise of its texts, the most recently used last
    this.keep = 24; // pieces that stay unpacked, some 10 MB
  }

  pieceOf(i) {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= i) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  piece(number) {
    const found = this.unpacked.get(number) ?? unpack(`${this.kind}-${number}`);
    this.unpacked.delete(number);
    this.unpacked.set(number, found);
    if (this.unpacked.size > this.keep) this.unpacked.delete(this.unpacked.keys().next().value);
    return found;
  }

  async text(i) {
    const number = this.pieceOf(i);
    return (await this.piece(number))[i - this.starts[number]];
  }
}

const store = {
  index: null, // columns; see discussions.py
  size: 0,
  bits: {}, // name of a flag -> its bit
  common: [], // number of a task -> how many characters all of its questions begin with
  byQuestion: [], // number of a question -> its discussions
  pieces: null,

  async open() {
    const index = await unpack("discussions-index");
    index.flag_names.forEach((name, bit) => (this.bits[name] = 1 << bit));
    this.size = index.cell.length;
    this.byQuestion = index.questions.map(() => []);
    for (let i = 0; i < this.size; i++) this.byQuestion[index.question[i]].push(i);
    this.pieces = new Pieces("discussions", index.starts);
    this.common = index.tasks.map((_, t) => sharedBeginning(index.questions.filter(([task]) => task === t)));
    this.index = index;
  },

  // A question in the list: without what all of its task begin with.
  asked(i) {
    const [task, , text] = this.index.questions[index_(i, "question")];
    const cut = this.common[task];
    return (cut ? "… " : "") + text.slice(cut, cut + 160);
  },

  has(i, flag) {
    return (index_(i, "flags") & this.bits[flag]) !== 0;
  },

  cell(i) {
    return figures.cells[index_(i, "cell")];
  },

  // {task, id, text, gold}
  question(i) {
    const [task, id, text, gold] = this.index.questions[index_(i, "question")];
    return {task: this.index.tasks[task], id, text, gold};
  },

  answer(i) {
    return this.index.answers[index_(i, "answer")];
  },

  text(i) {
    return this.pieces.text(i);
  },

  // What names a discussion in a link, also in another build of the page.
  key(i) {
    const {method, seed} = this.cell(i);
    const {task, id} = this.question(i);
    const seat = index_(i, "seat");
    const key = {task, method, seed: String(seed), question: id, sample: String(index_(i, "sample"))};
    if (seat !== null) key.seat = seat;
    if (this.has(i, "greedy")) key.greedy = "1";
    return key;
  },

  // The discussion with this key, or null.
  find(key) {
    const same = (a, b) => (a ?? "").toWellFormed() === (b ?? "").toWellFormed();
    for (let i = 0; i < this.size; i++) {
      const mine = this.index.questions[index_(i, "question")];
      if (!same(mine[1], key.question)) continue;
      const other = this.key(i);
      if (["task", "method", "seed", "sample", "seat", "greedy"].every((name) => same(other[name], key[name])))
        return i;
    }
    return null;
  },
};

// How many characters several questions begin with, up to the last sentence, or some words back; 0 where that is short.
function sharedBeginning(questions) {
  const [first, ...others] = [...new Set(questions.map(([, , text]) => text))];
  if (!others.length) return 0;
  let length = first.length;
  for (const text of others) while (!text.startsWith(first.slice(0, length))) length = Math.min(length - 1, text.length);
  const shared = first.slice(0, length);
  const sentence = Math.max(shared.lastIndexOf(". ") + 2, shared.lastIndexOf("\n") + 1);
  const cut = length - sentence < 60 ? sentence : shared.lastIndexOf(" ", length - 24) + 1;
  return cut > 24 ? cut : 0;
}

const index_ = (i, column) => store.index[column][i];
