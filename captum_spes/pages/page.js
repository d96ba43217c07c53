// Building the page, and what is done with it.

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
