// Choosing, showing and playing.

const data = JSON.parse(document.getElementById("data").textContent);
const explanations = data.explanations;
const $ = (id) => document.getElementById(id);
const state = { unit: 0, isKept: false, cursor: null };
const MOSTLY_NOISE = data.mostlyNoise;
const KEPT_AS_SOUND = 20; // percent, until the slider says otherwise
const isOn = (id) => $(id).checked;

// What is chosen ---------------------------------------------------------------------------

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

// What is shown ----------------------------------------------------------------------------

function viewOf(explanation) {
  const unit = unitOf(explanation);
  const hasSpan = unit && unit.start !== null && !isOn("whole");
  return {
    isRaw: isOn("raw"),
    isAbsolute: isOn("absolute"),
    hasSpectrogram: isOn("spectrogram"),
    hasProfiles: isOn("profiles"),
    kept: Number($("kept").value),
    isNoise: isNoise(reliabilityOf(explanation)),
    span: hasSpan ? [unit.start, unit.end] : [],
    cursor: state.cursor,
  };
}

function draw(explanation) {
  drawMap(explanation.canvas, explanation, planeOf(explanation), viewOf(explanation));
  describe(explanation);
}

function describe(explanation) {
  const parts = [explanation.name];
  const reliability = reliabilityOf(explanation);
  let warning = "";
  if (!rowsOf(explanation).length) {
    warning = "This explanation has no such word.";
  } else if (reliability !== null) {
    // So that what is mostly noise never shows half of it, nor the other way round.
    const noise = Math[isNoise(reliability) ? "ceil" : "floor"](100 * (1 - reliability));
    if (isNoise(reliability)) {
      warning = `This map is mostly noise (${noise} %): it shows nothing to believe.`;
    } else {
      parts.push(`${noise} % of this map is sampling noise`);
    }
  }
  explanation.caption.textContent = parts.join(" · ");
  explanation.warning.textContent = warning;
  explanation.warning.hidden = !warning;
  const what = isOn("whole") ? "the sentence" : unitOf(explanation)?.text.trim() ?? "nothing";
  explanation.canvas.setAttribute("aria-label",
    `Map of ${what} over time and frequency. ${parts.join(", ")}. ${warning}`);
}

function refresh() {
  const chosen = units(explanations[0])[state.unit];
  const weights = isOn("whole") ? null : weightsOf(explanations[0], chosen);
  elements().forEach((element, index) => {
    const isChosen = index === state.unit && !isOn("whole");
    element.classList.toggle("chosen", isChosen);
    element.classList.toggle("kept", isChosen && state.isKept);
    element.setAttribute("aria-selected", String(isChosen));
    if (isChosen) $("transcript").setAttribute("aria-activedescendant", element.id);
    const weight = weights ? weights[index] : 0;
    const bar = element.querySelector(".weight");
    bar.style.opacity = weight > 0.02 ? "1" : "0";
    bar.style.width = `${Math.round(100 * weight)}%`;
  });
  $("status").textContent = isOn("whole") ? "The sentence: the mean of all maps." : about(chosen);
  $("play-word").disabled = isOn("whole") || chosen.start === null;
  explanations.forEach(draw);
}

// Kept apart from what stands around it, whichever way it is written.
const quoted = (text) => `\u2068“${text.trim()}”\u2069`;

function about(unit) {
  const parts = [quoted(unit.text)];
  if (unit.start !== null) {
    const verb = unit.isSpoken ? "spoken" : "strongest";
    parts.push(`${verb} from ${unit.start.toFixed(2)} to ${unit.end.toFixed(2)} s`);
  }
  if (isNoise(unit.reliability)) parts.push("its map is mostly noise");
  if (!unit.restsOnAudio) {
    parts.push("the audio moves it by less than 1 % of what it moves the word that it moves most");
  }
  if (unit.probability !== null) parts.push(`probability ${unit.probability.toFixed(2)}`);
  if (unit.rank !== null && unit.rank > 1) parts.push(`rank ${unit.rank}`);
  if (unit.runnerUp) parts.push(`runner-up ${quoted(unit.runnerUp)}`);
  if (unit.share !== null) parts.push(`${Math.round(100 * unit.share)} % on the audio`);
  if (unit.verdict) parts.push(unit.verdict);
  return parts.join(", ");
}

// How much the chosen unit rests on each one before it, of the largest.
function weightsOf(explanation, unit) {
  if (!unit.previous) return null;
  const own = units(explanation).map((other) => {
    const columns = other.columns.map((column) => unit.previous[column]);
    const known = columns.filter((value) => value !== null && value !== undefined);
    return known.length ? known.reduce((a, b) => a + b, 0) / known.length : 0;
  });
  const most = Math.max(...own.map(Math.abs)) || 1;
  return own.map((value) => Math.max(0, value) / most);
}

const elements = () => [...document.querySelectorAll("#transcript .unit")];

function listUnits() {
  const list = $("transcript");
  const isByToken = isOn("by-token");
  list.replaceChildren();
  units(explanations[0]).forEach((unit, index) => {
    const element = document.createElement("span");
    element.className = "unit";
    element.id = `unit-${index}`;
    element.setAttribute("role", "option");
    const text = document.createElement("span");
    text.textContent = isByToken ? unit.text : unit.text.trim();
    const bar = document.createElement("span");
    bar.className = "weight";
    element.append(text, bar);
    if (unit.share !== null && !isNoise(unit.reliability)) {
      element.style.backgroundColor = `rgba(var(--rest), ${(0.75 * unit.share).toFixed(3)})`;
    }
    element.classList.toggle("noise", isNoise(unit.reliability));
    element.classList.toggle("doubted", unit.verdict === data.notHeard);
    element.addEventListener("pointerenter", () => point(index));
    element.addEventListener("click", () => {
      keepOrLetGo(index);
      list.focus();
    });
    list.append(element);
    if (!isByToken) list.append(" ");
  });
}

function readOut(explanation, event) {
  const { canvas } = explanation;
  const plane = planeOf(explanation);
  const box = boxOf(canvas, isOn("profiles"));
  const found = plane && valueAt(canvas, explanation, plane, box, event.offsetX, event.offsetY);
  $("readout").textContent = found
    ? `${found.time.toFixed(2)} s, ${Math.round(found.hertz)} Hz: ${found.value.toPrecision(3)}`
    : "\u00a0";
}

// What is heard ----------------------------------------------------------------------------

let recording = null; // all of it
let playing = null;
let stopAt = Infinity;

function play(sound, start, end) {
  if (playing && !playing.paused) {
    playing.pause();
    return;
  }
  playing = window.captumSpesPlaying = sound;
  sound.currentTime = Math.max(0, start);
  stopAt = end;
  sound.play().then(follow, () => { $("status").textContent = "The sound cannot be played."; });
}

function follow() {
  const isOver = playing.paused || playing.currentTime >= stopAt;
  if (isOver && !playing.paused) playing.pause();
  state.cursor = isOver ? null : playing.currentTime + data.offset;
  markSpoken();
  explanations.forEach(draw);
  if (!isOver) requestAnimationFrame(follow);
}

function markSpoken() {
  units(explanations[0]).forEach((unit, index) => {
    const isNow = state.cursor !== null && unit.isSpoken
      && unit.start <= state.cursor && state.cursor < unit.end;
    $(`unit-${index}`).classList.toggle("spoken", isNow);
  });
}

function playWord() {
  const unit = units(explanations[0])[state.unit];
  if (unit.start !== null) play(recording, unit.start - data.offset, unit.end - data.offset);
}

// The strongest cells of the first map, or all others.
async function playCells(isRest) {
  if (playing && !playing.paused) {
    playing.pause();
    return;
  }
  if (Number($("kept").value) === 100) keep(KEPT_AS_SOUND);
  const explanation = explanations[0];
  await load(explanation, rowsOf(explanation));
  const samples = await cellsAsSamples(explanation, Number($("kept").value), isRest);
  if (!samples) return;
  if (explanation.part) URL.revokeObjectURL(explanation.part.src);
  explanation.part = new Audio(URL.createObjectURL(waveFile(samples, data.sound.rate)));
  const isHeard = (value) => Math.abs(value) > 1e-4;
  const first = Math.max(0, samples.findIndex(isHeard)) / data.sound.rate;
  const last = samples.findLastIndex(isHeard) / data.sound.rate;
  play(explanation.part, first - 0.05, last + 0.05);
}

async function cellsAsSamples(explanation, percent, isRest) {
  const plane = planeOf(explanation);
  if (!plane) return null;
  data.samples ??= await samplesOf(data.sound);
  const cells = strongest(plane, percent);
  const kept = keptSamples(data.samples, data.sound.rate, cells, explanation);
  return isRest ? kept.map((value, i) => data.samples[i] - value) : kept;
}

function keep(percent) {
  $("kept").value = percent;
  $("kept-text").textContent = `${percent} %`;
  $("kept").setAttribute("aria-valuetext", `${percent} percent`);
  $("play-kept").textContent = `Play the strongest ${percent < 100 ? percent : KEPT_AS_SOUND} %`;
  explanations.forEach(draw);
}

// Start ------------------------------------------------------------------------------------

function addPanel(explanation) {
  const figure = document.createElement("figure");
  explanation.canvas = document.createElement("canvas");
  explanation.canvas.setAttribute("role", "img");
  explanation.caption = document.createElement("figcaption");
  explanation.warning = document.createElement("p");
  explanation.warning.className = "warning";
  figure.append(explanation.canvas, explanation.caption, explanation.warning);
  if (explanation.signed) figure.append(signsOf(explanation.contrast));
  for (const line of explanation.notes) {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = line;
    figure.append(note);
  }
  $("panels").append(figure);
  explanation.canvas.addEventListener("pointermove", (event) => readOut(explanation, event));
  explanation.canvas.addEventListener("pointerleave", () => { $("readout").textContent = "\u00a0"; });
}

function tellFacts() {
  for (const [name, value] of data.facts) {
    const term = document.createElement("dt");
    const definition = document.createElement("dd");
    term.textContent = name;
    definition.textContent = value;
    $("facts").append(term, definition);
  }
}

// A contrast's word in its sentence, with how much each token before it speaks for it.
function tellSentence({ before, word, after }) {
  const marked = document.createElement("mark");
  marked.textContent = word;
  const tokens = before.map(([text, weight]) => {
    const token = document.createElement("span");
    token.textContent = text;
    if (weight !== 0) {
      const ink = weight > 0 ? "var(--rest)" : "var(--foil)";
      token.style.backgroundColor = `rgba(${ink}, ${(0.6 * Math.abs(weight)).toFixed(3)})`;
    }
    return token;
  });
  // The word's own blank stands before it.
  const blank = before.length && !/\s$/.test(before.at(-1)[0]) ? " " : "";
  $("sentence").append(...tokens, blank, marked, after);
  $("sentence").hidden = false;
  document.querySelectorAll(".of-tokens").forEach((label) => { label.hidden = true; });
}

function signsOf({ word, foil }) {
  const signs = document.createElement("p");
  signs.className = "signs";
  for (const [ink, text] of [["warm", word], ["cold", foil]]) {
    const swatch = document.createElement("span");
    swatch.className = `swatch ${ink}`;
    signs.append(swatch, ` speaks for ${quoted(text)} `);
  }
  return signs;
}

function hideUnusedLegends() {
  const words = explanations[0].words;
  $("legend-share").hidden = words.every((unit) => unit.share === null);
  $("legend-previous").hidden = explanations[0].signed || words.every((unit) => unit.previous === null);
  $("legend-noise").hidden = !words.some((unit) => isNoise(unit.reliability));
  $("legend-check").hidden = words.every((unit) => unit.verdict === null);
}

function chooseInView(index) {
  choose(index);
  $(`unit-${state.unit}`).scrollIntoView({ block: "nearest" });
}

function onKey(event) {
  const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const isMirrored = getComputedStyle($("transcript")).direction === "rtl";
  const isSideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
  const sign = isMirrored && isSideways ? -1 : 1;
  if (event.key in moves) chooseInView(state.unit + sign * moves[event.key]);
  else if (event.key === "Home") chooseInView(0);
  else if (event.key === "End") chooseInView(Infinity);
  else if (event.key === "Escape") { state.isKept = false; refresh(); }
  else if (data.sound && event.key === " ") play(recording, 0, Infinity);
  else if (data.sound && event.key === "Enter") playWord();
  else if (data.sound && event.key.toLowerCase() === "k") playCells(false);
  else return;
  event.preventDefault();
}

function listen() {
  if (data.sound) {
    recording = new Audio(`data:${data.sound.type};base64,${data.sound.data}`);
    recording.preload = "auto";
    // For tests and other scripts: what plays, and the samples of a part.
    window.captumSpesPlaying = recording;
    window.captumSpesSamples = cellsAsSamples.bind(null, explanations[0]);
  }
  $("players").hidden = !data.sound;
  const sounds = ", space plays the recording, Enter the word, K the strongest part of the map";
  $("transcript").setAttribute("aria-label",
    `Transcript: arrow keys choose a word${data.sound ? sounds : ""}`);
  $("transcript").addEventListener("keydown", onKey);
  $("play").addEventListener("click", () => play(recording, 0, Infinity));
  $("play-word").addEventListener("click", playWord);
  $("play-kept").addEventListener("click", () => playCells(false));
  $("play-rest").addEventListener("click", () => playCells(true));
  for (const name of ["absolute", "spectrogram", "raw", "profiles", "whole"]) {
    $(name).addEventListener("change", refresh);
  }
  $("by-token").addEventListener("change", changeUnits);
  $("kept").addEventListener("input", () => keep(Number($("kept").value)));
  addEventListener("resize", () => explanations.forEach(draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
}

async function start() {
  tellFacts();
  if (explanations[0].signed) tellSentence(explanations[0].contrast);
  hideUnusedLegends();
  $("panels").classList.toggle("several", explanations.length > 1);
  for (const explanation of explanations) {
    explanation.levels = [];
    explanation.offset = data.offset;
    addPanel(explanation);
    explanation.grey = await levelsOf(explanation.spectrogram);
    await load(explanation, rowsOf(explanation));
  }
  listUnits();
  listen();
  refresh();
  document.documentElement.dataset.ready = "true";
  // The others, one after the other, so that pointing is answered meanwhile.
  for (const explanation of explanations) {
    for (const row of explanation.byToken.keys()) await load(explanation, [row]);
  }
  document.documentElement.dataset.complete = "true";
}

start();
