// Full-text search over questions and messages: piece by piece, so that the page stays quick and first finds show at once.

// Words must all occur, in any order and case; "words in quotes" stay together.
function termsOf(query) {
  return [...query.matchAll(/"([^"]+)"?|\S+/g)].map((found) => found[1] ?? found[0]).filter((term) => term !== '"');
}

const escaped = (term) => term.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");

function patternOf(query) {
  const terms = termsOf(query);
  return terms.length ? new RegExp(terms.map(escaped).join("|"), "giu") : null;
}

let searching = 0; // number of the search in progress; an older one gives up

function stopSearching() {
  searching++;
}

// The discussions of `candidates` that hold every term. progress(found: Set, share done) is called some ten times a second.
async function search(query, candidates, progress) {
  const mine = ++searching;
  const terms = termsOf(query).map((term) => new RegExp(escaped(term), "iu"));
  const found = new Set();
  const pieces = Map.groupBy(candidates, (i) => store.pieces.pieceOf(i));
  const numbers = [...pieces.keys()];
  const questions = new Map(); // of a question: the terms that it lacks
  let shown = performance.now();
  let rested = shown;
  for (let k = 0; k < numbers.length; k++) {
    if (numbers[k + 1] !== undefined) store.pieces.piece(numbers[k + 1]).catch(() => {}); // unpacked by the browser meanwhile
    const texts = await store.pieces.piece(numbers[k]);
    if (mine !== searching) return null;
    const start = store.pieces.starts[numbers[k]];
    for (const i of pieces.get(numbers[k])) {
      const question = index_(i, "question");
      if (!questions.has(question))
        questions.set(
          question,
          terms.filter((term) => !term.test(store.index.questions[question][2])),
        );
      if (questions.get(question).every((term) => holds(texts[i - start], term))) found.add(i);
    }
    const now = performance.now();
    if (now - shown > 100) {
      progress(found, (k + 1) / numbers.length);
      shown = now;
    }
    if (now - rested > 20) {
      await breath();
      if (mine !== searching) return null;
      rested = performance.now();
    }
  }
  return found;
}

function holds(text, term) {
  return text.turns.some((turn) => term.test(turn[2])) || Object.values(text.private).some((view) => term.test(view));
}
