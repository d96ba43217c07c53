// The strongest cells of a map as sound, as `result.listen` makes it: a mask on the short-time
// Fourier transform, which steps from cell to cell in half a cosine.

const WINDOW_SECONDS = 0.032;
const EDGE_SECONDS = 0.006;
const EDGE_HERTZ = 60;

const halfCosine = (x) => 0.5 - 0.5 * Math.cos(Math.PI * Math.max(0, Math.min(1, x)));

// In place, of a length that is a power of two; the inverse without its factor.
function transform(real, imaginary, direction) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let half = 1; half < n; half *= 2) {
    for (let k = 0; k < half; k++) {
      const angle = (direction * Math.PI * k) / half;
      const c = Math.cos(angle), s = Math.sin(angle);
      for (let i = k; i < n; i += 2 * half) {
        const re = real[i + half] * c - imaginary[i + half] * s;
        const im = real[i + half] * s + imaginary[i + half] * c;
        real[i + half] = real[i] - re;
        imaginary[i + half] = imaginary[i] - im;
        real[i] += re;
        imaginary[i] += im;
      }
    }
  }
}

// The two cells that a place lies between, and the share of the second: 0 or 1, but for a step.
function between(place, centres, edge) {
  if (centres.length < 2) return [0, 0, 0];
  let after = centres.findIndex((centre) => centre >= place);
  if (after < 0) after = centres.length - 1;
  after = Math.max(1, after);
  const [left, right] = [centres[after - 1], centres[after]];
  const step = Math.max(Math.min(edge, right - left), 1e-9);
  return [after - 1, after, halfCosine((place - (left + right) / 2) / step + 0.5)];
}

// What each frequency of the transform lies between, and what of it the highest bin lets through.
function bandsOf(frequencies, size, rate) {
  const last = frequencies.length - 1;
  const highest = last > 0 && frequencies[last - 1] > 0
    ? frequencies[last] ** 2 / frequencies[last - 1] : Infinity;
  return Array.from({ length: size / 2 + 1 }, (_, k) => {
    const hertz = (k * rate) / size;
    const passes = 1 - halfCosine((hertz - highest) / EDGE_HERTZ);
    return [...between(hertz, frequencies, EDGE_HERTZ), passes];
  });
}

// Samples of which only some cells are left.
function keptSamples(samples, rate, cells, explanation) {
  const { width, height, start, end, frequencies } = explanation;
  const window = 2 ** Math.round(Math.log2(WINDOW_SECONDS * rate));
  const hop = window / 4;
  const size = 2 * window; // a mask is a filter, whose ring needs room behind the window
  const hann = Float64Array.from({ length: window },
    (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / window));
  const bands = bandsOf(frequencies, size, rate);
  const columns = Float64Array.from({ length: width },
    (_, i) => start - explanation.offset + ((i + 0.5) * (end - start)) / width);
  const columnStep = width > 1 ? columns[1] - columns[0] : 1;
  const kept = new Float32Array(samples.length + 2 * size);
  const real = new Float64Array(size), imaginary = new Float64Array(size);
  for (let first = -window; first < samples.length; first += hop) {
    // Columns are evenly spaced: none is looked for.
    const time = (first + window / 2) / rate;
    const near = Math.max(0, Math.min(width - 2, Math.floor((time - columns[0]) / columnStep)));
    const [, , later] = between(time, columns.subarray(near, near + 2), EDGE_SECONDS);
    real.fill(0);
    imaginary.fill(0);
    for (let i = 0; i < window; i++) real[i] = (samples[first + i] ?? 0) * hann[i];
    transform(real, imaginary, -1);
    for (let k = 0; k <= size / 2; k++) {
      const [below, above, higher, passes] = bands[k];
      const at = (bin, column) => cells[(height - 1 - bin) * width + Math.min(column, width - 1)];
      const ofBin = (bin) => at(bin, near) * (1 - later) + at(bin, near + 1) * later;
      const factor = (ofBin(below) * (1 - higher) + ofBin(above) * higher) * passes;
      for (const place of k % (size / 2) ? [k, size - k] : [k]) {
        real[place] *= factor;
        imaginary[place] *= factor;
      }
    }
    transform(real, imaginary, 1);
    // Squared windows a quarter apart add up to 1.5.
    for (let i = 0; i < window; i++) {
      const place = first + i + window;
      kept[place] += (real[i] / size) * hann[i] / 1.5;
    }
  }
  return kept.subarray(window, window + samples.length);
}

const bytesOf = (encoded) => Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));

async function samplesOf(sound) {
  const context = new OfflineAudioContext(1, 1, sound.rate);
  const decoded = await context.decodeAudioData(bytesOf(sound.data).buffer);
  return decoded.getChannelData(0);
}

// A file of 16 bits, which every browser plays.
function waveFile(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => {
    view.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, value)), true);
  });
  return new Blob([view], { type: "audio/wav" });
}
