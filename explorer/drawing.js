"use strict";
/*
 * From strokes to the 28 x 28 pixels that a network sees, centred and scaled as MNIST's digits are: the
 * longer side of the ink fills 20 pixels, the centre of mass is in the middle of pixel 14 along both axes.
 * Strokes are lists of points in units of a pixel of that image, [x, y] from 0 to 28, painted over each other
 * in their order: {erase: boolean, points: [[x, y], ...]}. Pure functions, for the browser and for Node.
 */

const SIDE = 28;
const BOX = 20; // pixels that the longer side of a digit fills
const CENTRE = 14.5; // where MNIST's centres of mass lie, to 0.01 on average, along both axes
const PEN = 1.35; // radius of the pen, in pixels of the image: as thick as MNIST's digits are on average
const ERASER = 1.4; // its radius by the pen's
const FINE = 4; // samples per pixel and axis
const LARGEST_SCALE = 8; // a dot stays a dot

/** Samples (112 x 112), 0 to 1, of the ink of `strokes`, each point moved to scale * (x - from) + to. */
function painted(strokes, { scale = 1, from = [0, 0], to = [0, 0] } = {}) {
  const side = SIDE * FINE;
  const ink = new Float32Array(side * side);
  for (const { erase, points } of strokes) {
    const radius = (erase ? ERASER * PEN * scale : PEN) * FINE;
    const at = points.map(([x, y]) => [
      (scale * (x - from[0]) + to[0]) * FINE,
      (scale * (y - from[1]) + to[1]) * FINE,
    ]);
    for (let i = 0; i < at.length; i++) {
      paintSegment(ink, at[Math.max(0, i - 1)], at[i], radius, erase);
    }
  }
  return ink;
}

/** Paint the way from a to b, in samples, into `ink`, with edges one sample wide. */
function paintSegment(ink, [ax, ay], [bx, by], radius, erase) {
  const side = SIDE * FINE;
  const dx = bx - ax;
  const dy = by - ay;
  const length2 = dx * dx + dy * dy;
  const first = (a, b) => Math.max(0, Math.floor(Math.min(a, b) - radius - 1));
  const last = (a, b) => Math.min(side - 1, Math.ceil(Math.max(a, b) + radius + 1));
  for (let row = first(ay, by); row <= last(ay, by); row++) {
    for (let column = first(ax, bx); column <= last(ax, bx); column++) {
      const px = column + 0.5 - ax;
      const py = row + 0.5 - ay;
      const along = length2 > 0 ? Math.min(1, Math.max(0, (px * dx + py * dy) / length2)) : 0;
      const distance = Math.hypot(px - along * dx, py - along * dy);
      const covered = Math.min(1, Math.max(0, radius - distance + 0.5));
      const index = row * side + column;
      ink[index] = erase ? Math.min(ink[index], 1 - covered) : Math.max(ink[index], covered);
    }
  }
}

/** Pixels (784) from samples: means of 4 x 4, as multiples of 1/255 like those of a stored image. */
function pixelsOf(ink) {
  const pixels = new Float32Array(SIDE * SIDE);
  for (let row = 0; row < SIDE * FINE; row++) {
    for (let column = 0; column < SIDE * FINE; column++) {
      const pixel = Math.floor(row / FINE) * SIDE + Math.floor(column / FINE);
      pixels[pixel] += ink[row * SIDE * FINE + column] / (FINE * FINE);
    }
  }
  return pixels.map((value) => Math.round(255 * value) / 255);
}

/** {left, right, top, bottom} of the ink, in pixels and exact between samples; null where there is none. */
function boxOf(ink) {
  const side = SIDE * FINE;
  const columns = new Float32Array(side);
  const rows = new Float32Array(side);
  for (let index = 0; index < ink.length; index++) {
    const column = index % side;
    const row = (index - column) / side;
    columns[column] = Math.max(columns[column], ink[index]);
    rows[row] = Math.max(rows[row], ink[index]);
  }
  const first = (most) => {
    const at = most.findIndex((value) => value > 0);
    return at < 0 ? NaN : (at + 1 - most[at]) / FINE; // an edge sample is covered from its far side
  };
  const last = (most) => SIDE - first(most.slice().reverse());
  if (Number.isNaN(first(columns))) return null;
  return { left: first(columns), right: last(columns), top: first(rows), bottom: last(rows) };
}

/** [x, y] of the centre of mass of samples, in pixels. */
function centreOf(ink) {
  const side = SIDE * FINE;
  let [mass, x, y] = [0, 0, 0];
  for (let index = 0; index < ink.length; index++) {
    if (ink[index] > 0) {
      mass += ink[index];
      x += ink[index] * ((index % side) + 0.5);
      y += ink[index] * (Math.floor(index / side) + 0.5);
    }
  }
  return [x / mass / FINE, y / mass / FINE];
}

/** Pixels (784) of a drawing, centred and scaled; all 0 where there is no ink. */
function normalised(strokes) {
  const box = boxOf(painted(strokes));
  if (!box) return new Float32Array(SIDE * SIDE);
  // The pen keeps its width whatever the scale, as if everybody wrote equally large: only its path is scaled.
  const path = Math.max(box.right - box.left, box.bottom - box.top) - 2 * PEN;
  const scale = Math.min(LARGEST_SCALE, (BOX - 2 * PEN) / Math.max(path, 1e-6));
  const from = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
  const centre = centreOf(painted(strokes, { scale, from, to: [SIDE / 2, SIDE / 2] }));
  if (Number.isNaN(centre[0])) return new Float32Array(SIDE * SIDE);
  const to = centre.map((at) => SIDE / 2 + CENTRE - at);
  return pixelsOf(painted(strokes, { scale, from, to }));
}

/** Pixels (784) of `image` with strokes over it. It is centred already, and stays where it is. */
function edited(image, strokes) {
  let pixels = Float32Array.from(image);
  for (const stroke of strokes) {
    const covered = pixelsOf(painted([{ ...stroke, erase: false }]));
    pixels = pixels.map((value, i) =>
      stroke.erase ? Math.min(value, 1 - covered[i]) : Math.max(value, covered[i]),
    );
  }
  return pixels;
}

if (typeof module !== "undefined") {
  module.exports = { SIDE, BOX, CENTRE, PEN, painted, pixelsOf, boxOf, centreOf, normalised, edited };
}
