// What is chosen: words, tokens, and their maps.

const data = JSON.parse(document.getElementById("data").textContent);
const explanations = data.explanations;
const $ = (id) => document.getElementById(id);
const state = { unit: 0, isKept: false, cursor: null };
const MOSTLY_NOISE = data.mostlyNoise;
const isOn = (id) => $(id).checked;

const units = (explanation) => (isOn("by-token") ? explanation.byToken : explanation.words);

const lettersOf = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");

function unitOf(explanation) {
  const own = units(explanation);
  const first = explanations[0];
  if (explanation === first || explanation.signed) {
    return own[Math.min(state.unit, own.length - 1)];
  }
  if (first.signed) {
    const { word, occurrence } = first.contrast;
    return own.filter((unit) => lettersOf(unit.text) === lettersOf(word))[occurrence - 1];
  }
  // Other explanations of the same recording may have other words: the same one, counted.
  const wanted = units(first);
  const text = wanted[state.unit].text.trim();
  const before = wanted.slice(0, state.unit).filter((unit) => unit.text.trim() === text).length;
  return own.filter((unit) => unit.text.trim() === text)[before];
}

function rowsOf(explanation) {
  if (isOn("whole")) return explanation.byToken.map((_, row) => row);
  return unitOf(explanation)?.tokens ?? [];
}

// Null where there is none, or where it is still to be read; it is drawn when it is there.
function planeOf(explanation) {
  const rows = rowsOf(explanation);
  if (!rows.length) return null;
  if (rows.some((row) => !explanation.levels[row])) {
    load(explanation, rows).then(() => draw(explanation));
    return null;
  }
  const key = `${isOn("raw")} ${rows}`;
  if (explanation.plane?.key !== key) {
    explanation.plane = { key, ...meanOf(explanation, rows, isOn("raw")) };
  }
  return explanation.plane;
}

function reliabilityOf(explanation) {
  if (isOn("whole")) return explanation.reliability;
  return unitOf(explanation)?.reliability ?? null;
}

const isNoise = (reliability) => reliability !== null && reliability < MOSTLY_NOISE;

function choose(index) {
  const last = units(explanations[0]).length - 1;
  state.unit = Math.max(0, Math.min(last, index));
  $("whole").checked = false;
  refresh();
}

// Pointing chooses until a click keeps a word; another click, or Escape, lets it go.
function point(index) {
  if (!state.isKept && !isOn("whole")) choose(index);
}

function keepOrLetGo(index) {
  state.isKept = !(state.isKept && state.unit === index);
  choose(index);
}

// The same word, when words become tokens or tokens words.
function changeUnits() {
  const isByToken = isOn("by-token");
  const { words, byToken } = explanations[0];
  const rows = (isByToken ? words : byToken)[state.unit].tokens;
  const found = isByToken ? rows[0] : words.findIndex((word) => word.tokens.includes(rows[0]));
  state.unit = Math.max(0, found);
  listUnits();
  refresh();
}
