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
const MOST_SEGMENTS = 4000; // painted at once, in some 8 ms
const PEN = 1.35; // radius of the pen, in pixels of the image: as thick as MNIST's digits are on average
const ERASER = 1.4; // its radius by the pen's
const FINE = 4; // samples per pixel and axis
const LARGEST_SCALE = 8; // a dot stays a dot

/**
 * Samples (112 x 112), 0 to 1, of the ink of strokes, each point moved to scale * (x - from) + to. What is
 * painted stays: strokes that only grow cost what was added to them, however long they are.
 */
class Ink {
  constructor() {
    this.strokes = []; // {stroke, n: points of it that are painted}
    this.map = "";
    this.samples = new Float32Array((SIDE * FINE) ** 2);
  }

  of(strokes, { scale = 1, from = [0, 0], to = [0, 0] } = {}) {
    const map = String([scale, from, to]);
    const grown = this.strokes.every(({ stroke, n }, i) => {
      const isLast = i === this.strokes.length - 1;
      return strokes[i] === stroke && (isLast ? stroke.points.length >= n : stroke.points.length === n);
    });
    if (map !== this.map || !grown) {
      this.map = map;
      this.strokes = [];
      this.samples.fill(0);
    }
    const moved = (point) => point.map((value, axis) => (scale * (value - from[axis]) + to[axis]) * FINE);
    strokes.forEach((stroke, i) => (this.strokes[i] ??= { stroke, n: 0 }));
    const nNew = strokes.reduce((sum, { points }, i) => sum + points.length - this.strokes[i].n, 0);
    const stride = Math.ceil(nNew / MOST_SEGMENTS); // of a very long drawing some points are left out
    strokes.forEach(({ erase, points, width = 1 }, i) => {
      const kept = this.strokes[i];
      const radius = (erase ? ERASER * PEN * scale : PEN) * width * FINE;
      let last = Math.max(0, kept.n - 1);
      for (let at = kept.n; at < points.length; at += stride) {
        const next = Math.min(at + stride, points.length) - 1;
        paintSegment(this.samples, moved(points[last]), moved(points[next]), radius, erase);
        last = next;
      }
      kept.n = points.length;
    });
    return this.samples;
  }
}

/** Paint the way from a to b, in samples, into `ink`, with edges one sample wide. */
function paintSegment(ink, [ax, ay], [bx, by], radius, erase) {
  const side = SIDE * FINE;
  const dx = bx - ax;
  const dy = by - ay;
  const perLength2 = 1 / Math.max(dx * dx + dy * dy, 1e-12);
  const beyond2 = (radius + 0.5) ** 2;
  const first = (a, b) => Math.max(0, Math.floor(Math.min(a, b) - radius - 1));
  const last = (a, b) => Math.min(side - 1, Math.ceil(Math.max(a, b) + radius + 1));
  const [left, right, bottom] = [first(ax, bx), last(ax, bx), last(ay, by)];
  for (let row = first(ay, by); row <= bottom; row++) {
    const py = row + 0.5 - ay;
    for (let column = left; column <= right; column++) {
      const px = column + 0.5 - ax;
      const along = Math.min(1, Math.max(0, (px * dx + py * dy) * perLength2));
      const x = px - along * dx;
      const y = py - along * dy;
      const distance2 = x * x + y * y;
      if (distance2 >= beyond2) continue;
      const covered = Math.min(1, radius - Math.sqrt(distance2) + 0.5);
      const index = row * side + column;
      if (erase) ink[index] = Math.min(ink[index], 1 - covered);
      else if (covered > ink[index]) ink[index] = covered;
    }
  }
}

/** Pixels (784) from samples: means of 4 x 4, as multiples of 1/255 like those of a stored image. */
function pixelsOf(ink) {
  const pixels = new Float32Array(SIDE * SIDE);
  for (let row = 0, index = 0; row < SIDE * FINE; row++) {
    const first = Math.floor(row / FINE) * SIDE;
    for (let column = 0; column < SIDE * FINE; column++, index++) {
      if (ink[index] !== 0) pixels[first + Math.floor(column / FINE)] += ink[index] / (FINE * FINE);
    }
  }
  return pixels.map((value) => Math.round(255 * value) / 255);
}

/** {left, right, top, bottom} of the ink, in pixels and exact between samples; null where there is none. */
function boxOf(ink) {
  const side = SIDE * FINE;
  const columns = new Float32Array(side);
  const rows = new Float32Array(side);
  for (let row = 0, index = 0; row < side; row++) {
    for (let column = 0; column < side; column++, index++) {
      const value = ink[index];
      if (value > columns[column]) columns[column] = value;
      if (value > rows[row]) rows[row] = value;
    }
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

/** Samples moved by [dx, dy] samples, between samples in proportion; what leaves the square is lost. */
function shifted(ink, [dx, dy]) {
  const side = SIDE * FINE;
  const [wholeX, wholeY] = [Math.floor(dx), Math.floor(dy)];
  const [partX, partY] = [dx - wholeX, dy - wholeY];
  const found = new Float32Array(ink.length);
  const isOut = (place) => place < 0 || place >= side;
  const at = (row, column) => (isOut(row) || isOut(column) ? 0 : ink[row * side + column]);
  for (let row = 0, index = 0; row < side; row++) {
    const y = row - wholeY;
    for (let column = 0; column < side; column++, index++) {
      const x = column - wholeX;
      const above = (1 - partX) * at(y - 1, x) + partX * at(y - 1, x - 1);
      found[index] = (1 - partY) * ((1 - partX) * at(y, x) + partX * at(y, x - 1)) + partY * above;
    }
  }
  return found;
}

/** From strokes to pixels, over a digit or over nothing; keeps its ink from step to step of a stroke. */
class Drawing {
  constructor() {
    [this.plain, this.scaled] = [new Ink(), new Ink()];
    this.over = []; // per stroke over a digit: {ink, whole, stroke, n, pixels after it}
  }

  /** Pixels (784) of a drawing, centred and scaled; all 0 where there is no ink. */
  normalised(strokes) {
    const box = boxOf(this.plain.of(strokes));
    if (!box) return new Float32Array(SIDE * SIDE);
    // The pen keeps its width whatever the scale, as if all wrote equally large: only its path is scaled.
    const pen = 2 * PEN * Math.max(...strokes.map(({ erase, width = 1 }) => (erase ? 0 : width)));
    const path = Math.max(box.right - box.left, box.bottom - box.top) - pen;
    const scale = Math.min(LARGEST_SCALE, (BOX - pen) / Math.max(path, 1e-6));
    const from = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    const ink = this.scaled.of(strokes, { scale, from, to: [SIDE / 2, SIDE / 2] });
    const centre = centreOf(ink);
    if (Number.isNaN(centre[0])) return new Float32Array(SIDE * SIDE);
    return pixelsOf(shifted(ink, centre.map((at) => FINE * (CENTRE - at))));
  }

  /** Pixels (784) of `image` with strokes over it. It is centred already, and stays where it is. */
  edited(image, strokes) {
    if (this.image !== image) [this.image, this.over] = [image, []];
    this.over.length = Math.min(this.over.length, strokes.length);
    strokes.forEach((stroke, i) => {
      const n = stroke.points.length;
      const kept = this.over[i];
      if (kept?.stroke === stroke && kept.n === n) return;
      if (kept?.stroke !== stroke) this.over.length = i;
      const ink = this.over[i]?.ink ?? new Ink();
      const whole = this.over[i]?.whole ?? { ...stroke, erase: false }; // its points are the same, and grow
      const covered = pixelsOf(ink.of([whole]));
      const below = i ? this.over[i - 1].pixels : image;
      const pixels = Float32Array.from(below, (value, at) =>
        stroke.erase ? Math.min(value, 1 - covered[at]) : Math.max(value, covered[at]),
      );
      this.over[i] = { ink, whole, stroke, n, pixels };
    });
    return this.over.at(-1)?.pixels ?? Float32Array.from(image);
  }
}

/** The same at once, of strokes that are painted but once. */
const normalised = (strokes) => new Drawing().normalised(strokes);
const edited = (image, strokes) => new Drawing().edited(image, strokes);

if (typeof module !== "undefined") {
  module.exports = {
    SIDE, BOX, CENTRE, PEN, Ink, Drawing, pixelsOf, boxOf, centreOf, normalised, edited,
  };
}
