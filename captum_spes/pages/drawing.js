// A map over the spectrogram, with its axes, its profiles and a cursor.

const TICKS_HERTZ = [250, 500, 1000, 2000, 4000, 8000];
const STEPS_SECONDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120];

const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

function inksOf(isNoise) {
  const dark = isDark();
  // What is mostly noise has no colour.
  const noise = dark ? [170, 170, 178] : [95, 95, 105];
  return {
    warm: isNoise ? noise : dark ? [255, 176, 84] : [190, 60, 0],
    cold: isNoise ? noise : dark ? [86, 180, 233] : [0, 114, 178],
    paper: dark ? 23 : 255,
    towardsInk: dark ? 1 : -1,
  };
}

// From which size to which a map has colour.
function scaleOf(explanation, plane, view) {
  if (view.isAbsolute && !plane.isSigned) {
    if (!view.isRaw) return { zero: 0, most: 1, faint: 0.25 };
    const maps = explanation.byToken.map((token) => token.map);
    const zero = Math.min(...maps.map((map) => map.low));
    return { zero, most: Math.max(...maps.map((map) => map.high)) - zero || 1, faint: 0.25 };
  }
  // From the middle of all cells to the strongest few, which single ones do not decide.
  const sizes = sorted(plane);
  const zero = plane.isSigned ? 0 : sizes[Math.floor(0.5 * (sizes.length - 1))];
  const most = sizes[Math.floor(0.997 * (sizes.length - 1))] - zero;
  return { zero, most: most > 0 ? most : sizes[sizes.length - 1] - zero || 1, faint: 0.15 };
}

function painted(explanation, plane, view) {
  const canvas = document.createElement("canvas");
  canvas.width = explanation.width;
  canvas.height = explanation.height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const inks = inksOf(view.isNoise);
  const scale = plane && scaleOf(explanation, plane, view);
  const seen = plane && view.kept < 100 ? strongest(plane, view.kept) : null;
  for (let i = 0; i < explanation.grey.length; i++) {
    const grey = view.hasSpectrogram ? explanation.grey[i] : 0;
    const shade = inks.paper + inks.towardsInk * 0.45 * grey;
    let alpha = 0;
    if (plane && (!seen || seen[i])) {
      const strength = Math.max(0, Math.min(1, (plane.sizes[i] - scale.zero) / scale.most));
      alpha = Math.max(0, (strength - scale.faint) / (1 - scale.faint)) * 0.95;
    }
    const ink = plane && plane.isSigned && plane.values[i] < 0 ? inks.cold : inks.warm;
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = shade * (1 - alpha) + ink[c] * alpha;
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function boxOf(canvas, hasProfiles) {
  const [left, right, top, bottom] = [54, 8, 8, 34];
  const beside = hasProfiles ? (canvas.clientWidth < 480 ? 30 : 56) : 0;
  const above = hasProfiles ? 38 : 0;
  return {
    left,
    top: top + above,
    width: canvas.clientWidth - left - right - beside,
    height: canvas.clientHeight - top - bottom - above,
    beside,
    above,
  };
}

const placeOf = (explanation, box, time) =>
  box.left + (box.width * (time - explanation.start)) / (explanation.end - explanation.start);

function drawMap(canvas, explanation, plane, view) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const box = boxOf(canvas, view.hasProfiles);
  const ink = getComputedStyle(document.body).color;
  context.font = "13px system-ui, sans-serif";
  context.imageSmoothingEnabled = false;
  context.drawImage(painted(explanation, plane, view), box.left, box.top, box.width, box.height);
  if (plane && view.hasProfiles) drawProfiles(context, plane, box, inksOf(view.isNoise));
  drawAxes(context, explanation, box, ink);
  context.strokeStyle = ink;
  context.setLineDash([4, 3]);
  for (const time of view.span) drawVertical(context, explanation, box, time);
  context.setLineDash([]);
  context.lineWidth = 2;
  if (view.cursor !== null) drawVertical(context, explanation, box, view.cursor);
}

function drawVertical(context, explanation, box, time) {
  const x = placeOf(explanation, box, time);
  context.beginPath();
  context.moveTo(x, box.top - box.above);
  context.lineTo(x, box.top + box.height);
  context.stroke();
}

// Means over frequency above the map, and over time beside it; around 0 where there is a sign.
function drawProfiles(context, plane, box, inks) {
  const { time, band } = profilesOf(plane);
  const drawBars = (values, draw) => {
    const most = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) || 1;
    const low = plane.isSigned ? -most : values.reduce((a, b) => Math.min(a, b));
    const high = plane.isSigned ? most : values.reduce((a, b) => Math.max(a, b));
    const ground = plane.isSigned ? 0 : low;
    const share = (value) => (high > low ? (value - low) / (high - low) : 0);
    values.forEach((value, i) => {
      const colour = value < ground ? inks.cold : inks.warm;
      context.fillStyle = `rgb(${colour.join(", ")})`;
      draw(i, share(Math.min(value, ground)), share(Math.max(value, ground)));
    });
  };
  const [high, wide] = [box.above - 6, box.beside - 8];
  const [across, down] = [box.width / plane.width, box.height / plane.height];
  drawBars(time, (i, from, to) => context.fillRect(
    box.left + i * across, box.top - 4 - to * high, across + 0.5, (to - from) * high));
  drawBars(band, (i, from, to) => context.fillRect(
    box.left + box.width + 4 + from * wide, box.top + i * down, (to - from) * wide, down + 0.5));
}

function drawAxes(context, explanation, box, ink) {
  context.fillStyle = ink;
  context.strokeStyle = ink;
  context.lineWidth = 1;
  context.strokeRect(box.left, box.top, box.width, box.height);
  context.textAlign = "center";
  context.textBaseline = "top";
  const seconds = explanation.end - explanation.start;
  const most = Math.max(2, box.width / 70);
  const step = STEPS_SECONDS.find((own) => seconds / own <= most) || 300;
  const first = Math.ceil(explanation.start / step - 1e-9);
  for (let n = first; n * step <= explanation.end + 1e-9; n++) {
    const x = placeOf(explanation, box, n * step);
    context.fillText(String(Number((n * step).toFixed(1))), x, box.top + box.height + 4);
  }
  context.fillText("time (s)", box.left + box.width / 2, box.top + box.height + 18);
  context.textAlign = "right";
  context.textBaseline = "middle";
  const bins = explanation.frequencies;
  for (const hertz of TICKS_HERTZ) {
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

// What stands at a place of the canvas; null beside the map.
function valueAt(canvas, explanation, plane, box, x, y) {
  const across = (x - box.left) / box.width;
  const down = (y - box.top) / box.height;
  if (across < 0 || across >= 1 || down < 0 || down >= 1) return null;
  const row = Math.floor(down * plane.height);
  return {
    time: explanation.start + across * (explanation.end - explanation.start),
    hertz: explanation.frequencies[plane.height - 1 - row],
    value: plane.values[row * plane.width + Math.floor(across * plane.width)],
  };
}
