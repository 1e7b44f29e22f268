// What changed between two messages of an agent: word by word, or, of code, line by line.

const LONGEST_DIFF = 1200; // words that differ on either side; a longer comparison would halt the page

const wordsOf = (text) => text.match(/\s+|[\p{L}\p{N}_.,']+|[^\s\p{L}\p{N}_]/gu) ?? [];

// [[kind, text], ...] with kind "same", "new" or "gone"; null if too much differs to say.
function difference(before, after) {
  const parts = compared(wordsOf(before), wordsOf(after));
  return parts && grouped(parts);
}

// The same of two lists of words or lines, one by one.
function compared(a, b) {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const middle = common(a.slice(start, a.length - end), b.slice(start, b.length - end));
  const same = (part) => ["same", part];
  return middle && [...a.slice(0, start).map(same), ...middle, ...a.slice(a.length - end).map(same)];
}

const FEW = 3; // words in common between two changes of a long message are a coincidence, and read better as changed

// Joins neighbours; what went stands before what came, and short agreements between changes are part of them.
function grouped(parts) {
  const runs = [];
  for (const [kind, text] of parts) {
    if (!text) continue;
    if (runs.at(-1)?.[0] === (kind === "same")) runs.at(-1)[1].push([kind, text]);
    else runs.push([kind === "same", [[kind, text]]]);
  }
  const text = (run, left) =>
    run
      .filter(([kind]) => kind !== left)
      .map(([, part]) => part)
      .join("");
  const number = (string) => string.match(/\S+/g)?.length ?? 0;
  const limit = Math.min(FEW, number(text(parts, "gone")) / 10);
  const few = (run) => number(text(run, "")) < limit;
  const merged = [];
  runs.forEach(([same, run], k) => {
    if (same && !(k > 0 && k < runs.length - 1 && few(run))) return merged.push(["same", text(run, "")]);
    if (merged.at(-1)?.[0] !== "new") merged.push(["gone", ""], ["new", ""]);
    merged.at(-2)[1] += text(run, "new");
    merged.at(-1)[1] += text(run, "gone");
  });
  return merged.filter(([, part]) => part);
}

// Longest common subsequence of two lists of words.
function common(a, b) {
  if (a.length > LONGEST_DIFF || b.length > LONGEST_DIFF) return null;
  const width = b.length + 1;
  const table = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const at = i * width + j;
      table[at] = a[i] === b[j] ? table[at + width + 1] + 1 : Math.max(table[at + width], table[at + 1]);
    }
  }
  const parts = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      parts.push(["same", a[i++]]);
      j++;
    } else if (j >= b.length || (i < a.length && table[(i + 1) * width + j] >= table[i * width + j + 1]))
      parts.push(["gone", a[i++]]);
    else parts.push(["new", b[j++]]);
  }
  return parts;
}

// The share of the new message's words that were said before.
function kept(parts) {
  let same = 0;
  let all = 0;
  for (const [kind, text] of parts) {
    if (kind === "gone") continue;
    const words = text.match(/\S+/g)?.length ?? 0;
    all += words;
    if (kind === "same") same += words;
  }
  return all ? same / all : 1;
}
