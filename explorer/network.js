"use strict";
/*
 * The networks of the page, forward and backward by hand: fully connected ReLU layers with linear outputs,
 * the logits. Everything is one image at a time. Pure functions, for the browser and for Node.
 *
 * A network is {sizes, background, layers: [{weights: Float32Array, row by row, biases: Float32Array}]};
 * `background` is what an empty pixel is for it, where ink is 1.
 */

/** Weights from 8-bit integers, row by row, and a scale per row. */
function weightsOf(integers, scales) {
  const weights = new Float32Array(integers.length);
  const width = integers.length / scales.length;
  for (let row = 0; row < scales.length; row++) {
    for (let i = row * width; i < (row + 1) * width; i++) weights[i] = integers[i] * scales[row];
  }
  return weights;
}

/** The outputs of a layer. Inputs that are 0, most of an image and of what ReLU leaves, cost nothing. */
function layerForward({ weights, biases }, inputs) {
  const width = inputs.length;
  const active = [];
  for (let i = 0; i < width; i++) if (inputs[i] !== 0) active.push(i);
  const where = Int32Array.from(active);
  const values = Float32Array.from(active, (i) => inputs[i]);
  const outputs = new Float32Array(biases.length);
  for (let row = 0; row < biases.length; row++) {
    const start = row * width;
    let sum = biases[row];
    for (let k = 0; k < where.length; k++) sum += weights[start + where[k]] * values[k];
    outputs[row] = sum;
  }
  return outputs;
}

/** What each layer sees of an image (784 pixels, 0 to 1), and last the logits. */
function activationsOf(network, pixels) {
  const { background, layers } = network;
  const found = [Float32Array.from(pixels, (value) => background + (1 - background) * value)];
  layers.forEach((layer, index) => {
    const outputs = layerForward(layer, found[index]);
    found.push(index + 1 < layers.length ? outputs.map((value) => Math.max(0, value)) : outputs);
  });
  return found;
}

/** The logits of an image. */
function logitsOf(network, pixels) {
  return activationsOf(network, pixels).at(-1);
}

/** Equation 1 of the paper: exp(z_i / T) / sum_j exp(z_j / T). */
function softmax(logits, temperature = 1) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (z) => Math.exp((z - largest) / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** `logits` with an offset added to each class, in single precision as NumPy does it. */
function withOffsets(logits, offsets) {
  return Float32Array.from(logits, (z, c) => z + Math.fround(offsets[c]));
}

/** The first class with the largest value. */
function largestOf(values) {
  let best = 0;
  for (let c = 1; c < values.length; c++) if (values[c] > values[best]) best = c;
  return best;
}

/** log p(target) at T = 1 and its gradient (784) by the pixels: onehot - p goes back through every layer. */
function inputGradient(network, pixels, target) {
  const activations = activationsOf(network, pixels);
  const p = softmax(activations.at(-1));
  let delta = Float64Array.from(p, (value, c) => (c === target ? 1 : 0) - value);
  for (let index = network.layers.length - 1; index >= 0; index--) {
    const below = activations[index];
    const weights = network.layers[index].weights;
    const passed = new Float64Array(below.length);
    for (let row = 0; row < delta.length; row++) {
      const d = delta[row];
      if (d === 0) continue;
      const start = row * below.length;
      for (let i = 0; i < passed.length; i++) passed[i] += d * weights[start + i];
    }
    if (index > 0) {
      for (let i = 0; i < passed.length; i++) if (below[i] <= 0) passed[i] = 0; // the slope of ReLU
    }
    delta = passed;
  }
  return { logP: Math.log(p[target]), gradient: delta.map((d) => (1 - network.background) * d) };
}

/** Values (28 x 28) smoothed along both axes by exp(-d^2 / (2 sigma^2)), which adds up to more than 1. */
function smoothed(values, sigma) {
  const side = Math.sqrt(values.length);
  const weight = Array.from({ length: side }, (_, d) => Math.exp(-(d * d) / (2 * sigma * sigma)));
  const along = (from, stepOf, startOf) => {
    const found = new Float64Array(from.length);
    for (let line = 0; line < side; line++) {
      for (let i = 0; i < side; i++) {
        let sum = 0;
        for (let j = 0; j < side; j++) sum += weight[Math.abs(i - j)] * from[startOf(line) + j * stepOf];
        found[startOf(line) + i * stepOf] = sum;
      }
    }
    return found;
  };
  const rows = along(values, 1, (line) => line * side);
  return along(rows, side, (line) => line);
}

/**
 * One step of `step` (L2 norm, pixels from 0 to 1) up the smooth gradient of log p(target); pixels stay in
 * [0, 1]. Gives log p(target) before the step and the pixels after it.
 */
function stepTowards(network, pixels, target, { sigma, step }) {
  const { logP, gradient } = inputGradient(network, pixels, target);
  const uphill = smoothed(gradient, sigma);
  let norm2 = 0;
  for (let i = 0; i < uphill.length; i++) {
    const held = (pixels[i] <= 0 && uphill[i] < 0) || (pixels[i] >= 1 && uphill[i] > 0);
    if (held) uphill[i] = 0;
    norm2 += uphill[i] * uphill[i];
  }
  const factor = step / Math.max(Math.sqrt(norm2), 1e-12);
  const moved = Float64Array.from(pixels, (v, i) => Math.min(1, Math.max(0, v + factor * uphill[i])));
  return { logP, pixels: moved };
}

/** Errors on test images: {all, unseen, guesses}. `logits` (n x 10) flat, `isUnseen` says it of a class. */
function errorsOf(logits, labels, offsets, isUnseen) {
  const n = labels.length;
  const added = Float32Array.from(offsets);
  const guesses = new Uint8Array(n);
  let [all, unseen] = [0, 0];
  for (let row = 0; row < n; row++) {
    let [best, largest] = [0, -Infinity];
    for (let c = 0; c < 10; c++) {
      const z = Math.fround(logits[10 * row + c] + added[c]);
      if (z > largest) [best, largest] = [c, z];
    }
    guesses[row] = best;
    if (best !== labels[row]) {
      all += 1;
      if (isUnseen[labels[row]]) unseen += 1;
    }
  }
  return { all, unseen, guesses };
}

/**
 * Errors by the offset of one class, the others' being as in `offsets`: [{offset, all, unseen}] for each of
 * `grid`, ascending. An image goes to the class as soon as its offset passes the image's margin.
 */
function errorCurve(logits, labels, offsets, isUnseen, chosen, grid) {
  const changes = grid.map(() => [0, 0]); // where an image becomes right or wrong, on all and on unseen
  const now = [0, 0];
  for (let row = 0; row < labels.length; row++) {
    let [other, largest] = [-1, -Infinity];
    for (let c = 0; c < 10; c++) {
      const z = logits[10 * row + c] + offsets[c];
      if (c !== chosen && z > largest) [other, largest] = [c, z];
    }
    const margin = largest - logits[10 * row + chosen];
    const before = other !== labels[row] ? 1 : 0;
    const after = chosen !== labels[row] ? 1 : 0;
    const place = grid.findIndex((offset) => offset > margin);
    [true, isUnseen[labels[row]]].forEach((counts, which) => {
      if (!counts) return;
      now[which] += before;
      if (place >= 0) changes[place][which] += after - before;
    });
  }
  return grid.map((offset, place) => {
    now[0] += changes[place][0];
    now[1] += changes[place][1];
    return { offset, all: now[0], unseen: now[1] };
  });
}

/** The arrays of the page by name. `bytes` holds them one after the other, `index` [name, type, length]. */
function arraysOf(bytes, index) {
  const types = { int8: Int8Array, uint8: Uint8Array, float32: Float32Array };
  const arrays = {};
  let start = 0;
  for (const [name, type, length] of index) {
    const size = length * types[type].BYTES_PER_ELEMENT;
    arrays[name] = new types[type](bytes.slice(start, start + size).buffer);
    start += size;
  }
  return arrays;
}

/** The bytes in a text of base64 after gzip. */
async function unpacked(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The networks of the page from its arrays and what is said of each. */
function networksOf(arrays, about) {
  return about.map(({ key, sizes, background }) => ({
    sizes,
    background,
    layers: sizes.slice(1).map((_, layer) => ({
      weights: weightsOf(arrays[`${key}/${layer}/integers`], arrays[`${key}/${layer}/scales`]),
      biases: arrays[`${key}/${layer}/biases`],
    })),
  }));
}

if (typeof module !== "undefined") {
  module.exports = {
    weightsOf, logitsOf, softmax, withOffsets, largestOf, inputGradient, smoothed, stepTowards, errorsOf,
    errorCurve, arraysOf, unpacked, networksOf,
  };
}
