// What the page holds: figures at once, the index of discussions when the page is read, texts when they are asked for.

const figures = JSON.parse(byId("figures").textContent);

async function unpack(block) {
  const packed = block.textContent;
  const bytes = Uint8Array.fromBase64
    ? Uint8Array.fromBase64(packed)
    : Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const store = {
  index: null, // columns; see discussions.py
  size: 0,
  bits: {}, // name of a flag -> its bit
  byQuestion: [], // number of a question -> its discussions
  _pieces: new Map(), // number of a piece -> promise of its texts, the most recently used last
  keep: 24, // pieces that stay unpacked, some 10 MB

  async open() {
    const index = await unpack(byId("index"));
    index.flag_names.forEach((name, bit) => (this.bits[name] = 1 << bit));
    this.size = index.cell.length;
    this.byQuestion = index.questions.map(() => []);
    for (let i = 0; i < this.size; i++) this.byQuestion[index.question[i]].push(i);
    this.index = index;
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

  pieceOf(i) {
    const starts = this.index.starts;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= i) low = middle;
      else high = middle - 1;
    }
    return low;
  },

  piece(number) {
    const found = this._pieces.get(number) ?? unpack(byId(`piece-${number}`));
    this._pieces.delete(number);
    this._pieces.set(number, found);
    if (this._pieces.size > this.keep) this._pieces.delete(this._pieces.keys().next().value);
    return found;
  },

  async text(i) {
    const number = this.pieceOf(i);
    return (await this.piece(number))[i - this.index.starts[number]];
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

const index_ = (i, column) => store.index[column][i];
