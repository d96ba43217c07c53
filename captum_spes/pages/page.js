"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const explanations = data.explanations;
  const $ = (id) => document.getElementById(id);
  const state = { unit: 0, byToken: false, whole: false, cursor: null };
  const MOSTLY_NOISE = 0.5;
  const margins = { left: 54, right: 8, top: 8, bottom: 34 };

  // Pictures: what a grey level means, as numbers ------------------------------------------

  function pixels(picture) {
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => {
        const canvas = document.createElement("canvas");
        canvas.width = image.width;
        canvas.height = image.height;
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(image, 0, 0);
        const levels = context.getImageData(0, 0, image.width, image.height).data;
        const values = new Float32Array(image.width * image.height);
        const range = picture.high - picture.low;
        for (let i = 0; i < values.length; i++) {
          values[i] = picture.low + (range * levels[4 * i]) / 255;
        }
        resolve({ values, width: image.width, height: image.height });
      };
      image.onerror = () => reject(new Error("a picture cannot be read"));
      image.src = "data:image/png;base64," + picture.png;
    });
  }

  function mean(planes) {
    const found = { ...planes[0], values: new Float32Array(planes[0].values.length) };
    for (const plane of planes) {
      for (let i = 0; i < found.values.length; i++) found.values[i] += plane.values[i];
    }
    for (let i = 0; i < found.values.length; i++) found.values[i] /= planes.length;
    return found;
  }

  // Each token's map as its normalised values: they are a straight line of the raw ones.
  function normalised(plane, token) {
    const [low, high] = token.normalised;
    const range = token.map.high - token.map.low || 1;
    const scale = (high - low) / range;
    const values = plane.values.map((value) => low + (value - token.map.low) * scale);
    return { ...plane, values };
  }

  function units(explanation) {
    return state.byToken ? explanation.byToken : explanation.words;
  }

  function planeOf(explanation, unit) {
    if (explanation.signed) return explanation.planes[0];
    if (state.whole) {
      explanation.sentence ??= mean(explanation.planes);
      return explanation.sentence;
    }
    unit.plane ??= mean(unit.tokens.map((row) => explanation.planes[row]));
    return unit.plane;
  }

  // Drawing -------------------------------------------------------------------------------

  const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

  function painted(explanation, plane) {
    const canvas = document.createElement("canvas");
    canvas.width = plane.width;
    canvas.height = plane.height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(plane.width, plane.height);
    const grey = $("spectrogram").checked ? explanation.grey : null;
    const scale = scaleOf(explanation, plane);
    const least = threshold(explanation, plane, Number($("kept").value));
    const dark = isDark();
    // What is mostly noise has no colour.
    const noise = dark ? [170, 170, 178] : [95, 95, 105];
    const warm = isNoise(explanation) ? noise : dark ? [255, 176, 84] : [190, 60, 0];
    const cold = dark ? [86, 180, 233] : [0, 114, 178];
    const paper = dark ? 23 : 255;
    for (let i = 0; i < plane.values.length; i++) {
      const shade = grey ? paper + (dark ? 1 : -1) * 0.45 * grey.values[i] : paper;
      const size = sizeOf(explanation, plane.values[i]);
      const strength = (size - scale.zero) / scale.most;
      const seen = size >= least ? Math.max(0, Math.min(1, strength)) : 0;
      const alpha = Math.max(0, (seen - scale.faint) / (1 - scale.faint)) * 0.95;
      const ink = explanation.signed && plane.values[i] < 0 ? cold : warm;
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = shade * (1 - alpha) + ink[c] * alpha;
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  const sizeOf = (explanation, value) => (explanation.signed ? Math.abs(value) : value);

  function sorted(explanation, plane) {
    plane.sorted ??= Float32Array.from(plane.values, (v) => sizeOf(explanation, v)).sort();
    return plane.sorted;
  }

  function scaleOf(explanation, plane) {
    if ($("absolute").checked && !explanation.signed) return { zero: 0, most: 1, faint: 0.25 };
    // From the middle of all cells to the strongest few, which single ones do not decide.
    const sizes = sorted(explanation, plane);
    const zero = explanation.signed ? 0 : sizes[Math.floor(0.5 * (sizes.length - 1))];
    const most = sizes[Math.floor(0.997 * (sizes.length - 1))] - zero;
    return { zero, most: most > 0 ? most : sizes[sizes.length - 1] - zero || 1, faint: 0.15 };
  }

  function threshold(explanation, plane, percent) {
    if (percent >= 100) return -Infinity;
    const sizes = sorted(explanation, plane);
    return sizes[Math.max(0, Math.ceil((1 - percent / 100) * sizes.length) - 1)];
  }

  function isNoise(explanation) {
    const unit = unitOf(explanation);
    return !state.whole && unit && unit.reliability !== null && unit.reliability < MOSTLY_NOISE;
  }

  function draw(explanation) {
    const unit = unitOf(explanation);
    const canvas = explanation.canvas;
    const ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const box = boxOf(canvas);
    const ink = getComputedStyle(document.body).color;
    context.fillStyle = ink;
    context.font = "13px system-ui, sans-serif";
    if (unit) {
      context.imageSmoothingEnabled = false;
      context.drawImage(painted(explanation, planeOf(explanation, unit)),
        box.left, box.top, box.width, box.height);
    }
    axes(context, explanation, box, ink);
    if (unit && unit.start !== null && !state.whole) {
      context.strokeStyle = ink;
      context.setLineDash([4, 3]);
      for (const time of [unit.start, unit.end]) vertical(context, explanation, box, time);
      context.setLineDash([]);
    }
    if (state.cursor !== null) {
      context.strokeStyle = ink;
      context.lineWidth = 2;
      vertical(context, explanation, box, state.cursor);
    }
    caption(explanation, unit);
  }

  function boxOf(canvas) {
    return {
      left: margins.left,
      top: margins.top,
      width: canvas.clientWidth - margins.left - margins.right,
      height: canvas.clientHeight - margins.top - margins.bottom,
    };
  }

  const placeOf = (explanation, box, time) =>
    box.left + (box.width * (time - explanation.start)) / (explanation.end - explanation.start);

  function vertical(context, explanation, box, time) {
    const x = placeOf(explanation, box, time);
    context.beginPath();
    context.moveTo(x, box.top);
    context.lineTo(x, box.top + box.height);
    context.stroke();
  }

  function axes(context, explanation, box, ink) {
    context.fillStyle = ink;
    context.strokeStyle = ink;
    context.lineWidth = 1;
    context.strokeRect(box.left, box.top, box.width, box.height);
    context.textAlign = "center";
    context.textBaseline = "top";
    const seconds = explanation.end - explanation.start;
    const most = Math.max(2, box.width / 70);
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120].find((s) => seconds / s <= most) || 300;
    const first = Math.ceil(explanation.start / step - 1e-9);
    for (let n = first; n * step <= explanation.end + 1e-9; n++) {
      const x = placeOf(explanation, box, n * step);
      context.fillText(String(Number((n * step).toFixed(1))), x, box.top + box.height + 4);
    }
    context.fillText("time (s)", box.left + box.width / 2, box.top + box.height + 18);
    context.textAlign = "right";
    context.textBaseline = "middle";
    const bins = explanation.frequencies;
    for (const hertz of [250, 500, 1000, 2000, 4000, 8000]) {
      if (hertz < bins[0] || hertz > bins[bins.length - 1] * 1.06) continue;
      let bin = bins.findIndex((middle) => middle >= hertz);
      if (bin < 0) bin = bins.length - 1;
      const y = box.top + box.height * (1 - (bin + 0.5) / bins.length);
      context.fillText(String(hertz), box.left - 4, y);
    }
    context.save();
    context.translate(10, box.top + box.height / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText("Hz", 0, 0);
    context.restore();
  }

  function caption(explanation, unit) {
    const parts = [explanation.name];
    let warning = "";
    if (unit && !state.whole && unit.reliability !== null) {
      const noise = Math.round(100 * (1 - unit.reliability));
      if (isNoise(explanation)) {
        warning = `This map is mostly noise (${noise} %): it shows nothing to believe.`;
      } else {
        parts.push(`${noise} % of this map is sampling noise`);
      }
    }
    explanation.caption.textContent = parts.join(" · ");
    explanation.warning.textContent = warning;
    explanation.warning.hidden = !warning;
    const what = state.whole ? "the sentence" : unit ? unit.text.trim() : "";
    explanation.canvas.setAttribute("aria-label",
      `Map of ${what} over time and frequency. ${parts.join(", ")}. ${warning}`);
  }

  // Choosing ------------------------------------------------------------------------------

  function unitOf(explanation) {
    const own = units(explanation);
    if (explanation === explanations[0] || explanation.signed) {
      return own[Math.min(state.unit, own.length - 1)];
    }
    // Other explanations of the same recording may have other words: the same one, counted.
    const wanted = units(explanations[0]);
    const text = wanted[state.unit].text.trim();
    const before = wanted.slice(0, state.unit).filter((u) => u.text.trim() === text).length;
    return own.filter((u) => u.text.trim() === text)[before];
  }

  function choose(index) {
    const list = units(explanations[0]);
    state.unit = Math.max(0, Math.min(list.length - 1, index));
    refresh();
  }

  function refresh() {
    const list = units(explanations[0]);
    const chosen = list[state.unit];
    const weights = state.whole ? null : weightsOf(explanations[0], chosen);
    [...$("transcript").children].forEach((element, index) => {
      const isChosen = index === state.unit && !state.whole;
      element.classList.toggle("chosen", isChosen);
      element.setAttribute("aria-selected", String(isChosen));
      if (isChosen) $("transcript").setAttribute("aria-activedescendant", element.id);
      const bar = element.querySelector(".weight");
      const weight = weights ? weights[index] : 0;
      bar.style.opacity = weight > 0.02 ? "1" : "0";
      bar.style.width = `${Math.round(100 * weight)}%`;
    });
    $("status").textContent = state.whole ? "The sentence: the mean of all maps." : about(chosen);
    explanations.forEach(draw);
  }

  function about(unit) {
    const parts = [`“${unit.text.trim()}”`];
    if (unit.start !== null) parts.push(`${unit.start.toFixed(2)} to ${unit.end.toFixed(2)} s`);
    if (unit.probability !== null) parts.push(`probability ${unit.probability.toFixed(2)}`);
    if (unit.rank !== null && unit.rank > 1) parts.push(`rank ${unit.rank}`);
    if (unit.runnerUp) parts.push(`runner-up “${unit.runnerUp.trim()}”`);
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

  function build() {
    const list = $("transcript");
    list.replaceChildren();
    units(explanations[0]).forEach((unit, index) => {
      const element = document.createElement("span");
      element.className = "unit";
      element.id = `unit-${index}`;
      element.setAttribute("role", "option");
      const text = document.createElement("span");
      text.textContent = state.byToken ? unit.text : unit.text.trim();
      const bar = document.createElement("span");
      bar.className = "weight";
      element.append(text, bar);
      if (unit.share !== null) {
        element.style.backgroundColor = `rgba(var(--rest), ${(0.75 * unit.share).toFixed(3)})`;
      }
      element.classList.toggle("noise", unit.reliability !== null && unit.reliability < MOSTLY_NOISE);
      element.classList.toggle("doubted", unit.verdict === "not heard");
      element.addEventListener("pointerenter", () => choose(index));
      element.addEventListener("click", () => { choose(index); list.focus(); });
      list.append(element, document.createTextNode(" "));
    });
    [...list.childNodes].forEach((node) => node.nodeType === 3 && state.byToken && node.remove());
  }

  // Sound ---------------------------------------------------------------------------------

  let sound = null;
  let stopAt = Infinity;

  function play(start, end) {
    if (!sound) return;
    if (!sound.paused) { sound.pause(); return; }
    sound.currentTime = Math.max(0, start);
    stopAt = end;
    sound.play().then(follow, () => { $("status").textContent = "The sound cannot be played."; });
  }

  function follow() {
    state.cursor = sound.paused ? null : sound.currentTime + data.offset;
    if (!sound.paused && sound.currentTime >= stopAt) sound.pause();
    explanations.forEach(draw);
    if (!sound.paused) requestAnimationFrame(follow);
  }

  function playWord() {
    const unit = units(explanations[0])[state.unit];
    if (unit.start === null) play(0, Infinity);
    else play(unit.start - data.offset, unit.end - data.offset);
  }

  // Start ---------------------------------------------------------------------------------

  function panel(explanation) {
    const figure = document.createElement("figure");
    explanation.canvas = document.createElement("canvas");
    explanation.canvas.setAttribute("role", "img");
    explanation.caption = document.createElement("figcaption");
    explanation.warning = document.createElement("p");
    explanation.warning.className = "warning";
    explanation.warning.hidden = true;
    figure.append(explanation.canvas, explanation.caption, explanation.warning);
    $("panels").append(figure);
    explanation.canvas.addEventListener("pointermove", (event) => readOut(explanation, event));
  }

  function readOut(explanation, event) {
    const unit = unitOf(explanation);
    const box = boxOf(explanation.canvas);
    const across = (event.offsetX - box.left) / box.width;
    const down = (event.offsetY - box.top) / box.height;
    if (!unit || across < 0 || across >= 1 || down < 0 || down >= 1) {
      $("readout").textContent = "\u00a0";
      return;
    }
    const plane = planeOf(explanation, unit);
    const column = Math.floor(across * plane.width);
    const row = Math.floor(down * plane.height);
    const hertz = explanation.frequencies[plane.height - 1 - row];
    const time = explanation.start + across * (explanation.end - explanation.start);
    const value = plane.values[row * plane.width + column];
    $("readout").textContent =
      `${time.toFixed(2)} s, ${Math.round(hertz)} Hz: ${value.toPrecision(3)}`;
  }

  function keys(event) {
    const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    if (event.key in moves) choose(state.unit + moves[event.key]);
    else if (event.key === "Home") choose(0);
    else if (event.key === "End") choose(units(explanations[0]).length - 1);
    else if (event.key === " ") play(0, Infinity);
    else if (event.key === "Enter") playWord();
    else return;
    event.preventDefault();
  }

  function facts() {
    for (const [name, value] of data.facts) {
      const term = document.createElement("dt");
      const definition = document.createElement("dd");
      term.textContent = name;
      definition.textContent = value;
      $("facts").append(term, definition);
    }
  }

  async function start() {
    facts();
    if (data.sound) {
      sound = new Audio(`data:${data.sound.type};base64,${data.sound.data}`);
      sound.preload = "auto";
      sound.addEventListener("pause", follow);
      window.captumSpesSound = sound;
    } else {
      $("play").hidden = $("play-word").hidden = true;
    }
    $("panels").classList.toggle("several", explanations.length > 1);
    for (const explanation of explanations) {
      panel(explanation);
      const planes = await Promise.all(explanation.byToken.map((token) => pixels(token.map)));
      explanation.planes = explanation.signed
        ? planes
        : planes.map((plane, row) => normalised(plane, explanation.byToken[row]));
      const grey = await pixels(explanation.spectrogram);
      grey.values = grey.values.map((v) => (255 * (v - explanation.spectrogram.low)) /
        (explanation.spectrogram.high - explanation.spectrogram.low || 1));
      explanation.grey = grey;
    }
    build();
    refresh();
    $("transcript").addEventListener("keydown", keys);
    $("play").addEventListener("click", () => play(0, Infinity));
    $("play-word").addEventListener("click", playWord);
    for (const name of ["absolute", "spectrogram"]) $(name).addEventListener("change", refresh);
    $("whole").addEventListener("change", (event) => {
      state.whole = event.target.checked;
      refresh();
    });
    $("by-token").addEventListener("change", (event) => {
      state.byToken = event.target.checked;
      state.unit = 0;
      build();
      refresh();
    });
    $("kept").addEventListener("input", () => {
      $("kept-text").textContent = `${$("kept").value} %`;
      $("kept").setAttribute("aria-valuetext", `${$("kept").value} percent`);
      explanations.forEach(draw);
    });
    addEventListener("resize", () => explanations.forEach(draw));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
    document.documentElement.dataset.ready = "true";
  }

  start();
})();
