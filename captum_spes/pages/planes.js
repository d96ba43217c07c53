// Maps as numbers: what the grey levels of their pictures mean.

// Levels of a grey picture, 0 to 255, row by row, the highest frequency first.
function levelsOf(picture) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = image.width;
      canvas.height = image.height;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      const colours = context.getImageData(0, 0, image.width, image.height).data;
      resolve(Uint8Array.from({ length: image.width * image.height }, (_, i) => colours[4 * i]));
    };
    image.onerror = () => reject(new Error("a picture cannot be read"));
    image.src = "data:image/png;base64," + picture.png;
  });
}

// Pictures are read when they are first shown: there can be hundreds.
async function load(explanation, rows) {
  const missing = rows.filter((row) => !explanation.levels[row]);
  await Promise.all(missing.map(async (row) => {
    explanation.levels[row] = await levelsOf(explanation.byToken[row].map);
  }));
}

// The mean of some tokens' maps, raw or normalised: these are a straight line of the raw ones.
function meanOf(explanation, rows, isRaw) {
  const values = new Float32Array(explanation.width * explanation.height);
  for (const row of rows) {
    const { map, normalised } = explanation.byToken[row];
    const [low, high] = isRaw || !normalised ? [map.low, map.high] : normalised;
    const levels = explanation.levels[row];
    const step = (high - low) / 255 / rows.length;
    for (let i = 0; i < values.length; i++) values[i] += low / rows.length + step * levels[i];
  }
  return {
    values,
    width: explanation.width,
    height: explanation.height,
    isSigned: explanation.signed,
    sizes: explanation.signed ? values.map(Math.abs) : values,
  };
}

function sorted(plane) {
  plane.sorted ??= Float32Array.from(plane.sizes).sort();
  return plane.sorted;
}

// 1 for the strongest cells, so many of a hundred; of equal ones the first.
function strongest(plane, percent) {
  const sizes = sorted(plane);
  const count = Math.max(1, Math.floor((percent / 100) * sizes.length + 1e-6));
  const least = sizes[sizes.length - count];
  let equal = count - plane.sizes.reduce((n, size) => n + (size > least ? 1 : 0), 0);
  return Uint8Array.from(plane.sizes, (size) => (size > least || (size === least && equal-- > 0)));
}

// Means over frequency, and over time.
function profilesOf(plane) {
  if (!plane.profiles) {
    const time = new Float32Array(plane.width);
    const band = new Float32Array(plane.height);
    plane.values.forEach((value, i) => {
      time[i % plane.width] += value / plane.height;
      band[Math.floor(i / plane.width)] += value / plane.width;
    });
    plane.profiles = { time, band };
  }
  return plane.profiles;
}
