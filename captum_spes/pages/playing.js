// What is heard: the recording, a word, or the cells of a map.

const KEPT_AS_SOUND = 20; // percent, until the slider says otherwise

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
