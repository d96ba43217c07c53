// What is shown: maps, words and what is known of them.

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
