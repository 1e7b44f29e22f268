// Numbers for people.

const MINUS = "\u2212";
const known = (value) => typeof value === "number" && Number.isFinite(value);

function fixed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) !== 0 ? MINUS : "") + text;
}

// A share as a percentage without its sign: .8421 is "84.2".
function percent(share, digits = 1) {
  return known(share) ? fixed(100 * share, digits) : "–";
}

// A difference of shares in percentage points: "+3.1".
function points(difference) {
  if (!known(difference)) return "–";
  const text = fixed(100 * difference, 1);
  return (difference > 0 && Number(text) !== 0 ? "+" : "") + text;
}

function range(low, high, show) {
  return known(low) && known(high) ? `${show(low)} to ${show(high)}` : "";
}

function probability(p) {
  if (!known(p)) return "–";
  return p < 0.001 ? "<\u00a0.001" : p.toFixed(3).replace(/^0/, "");
}

function count(number) {
  return known(number) ? (Math.round(number) + 0).toLocaleString("en-US").replaceAll(",", "\u202f") : "–";
}

function figure(number, digits = 3) {
  if (!known(number)) return "–";
  if (number === 0) return "0";
  return Number.isInteger(number)
    ? String(number).replace("-", MINUS)
    : fixed(number, digits)
        .replace(/(\.\d*?)0+$/, "$1")
        .replace(/\.$/, "");
}

// Of any size: what would be 0 with four decimals is written with a power of ten.
function sized(number) {
  if (!known(number) || number === 0 || Math.abs(number) >= 1e-3) return figure(number, 4);
  return number.toExponential(1).replace(".0e", "e").replaceAll("-", MINUS);
}

function duration(seconds) {
  if (!known(seconds)) return "–";
  if (seconds < 60) return `${figure(seconds, seconds < 10 ? 1 : 0)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

function many(number, one, several = one + "s") {
  return `${count(number)} ${number === 1 ? one : several}`;
}

// How right an answer is: a tie between a right and a wrong one is neither.
function verdictOf(correct) {
  if (correct >= 0.999) return {name: "right", sign: "✓", word: "right"};
  if (correct <= 0.001) return {name: "wrong", sign: "✗", word: "wrong"};
  return {name: "tied", sign: "≈", word: `a tie, ${percent(correct, 0)} % right`};
}

const VERDICTS = {
  1: {name: "right", sign: "✓", word: "right"},
  0: {name: "wrong", sign: "✗", word: "wrong"},
  "?": {name: "unknown", sign: "?", word: "not judged"},
  "-": {name: "silent", sign: "–", word: "silent"},
};
