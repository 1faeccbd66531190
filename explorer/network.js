"use strict";
/*
 * The networks of the page, forward and backward by hand: fully connected ReLU layers with linear outputs,
 * the logits. Everything is one image at a time. Pure functions, for the browser, a worker of it and Node;
 * below them the training of a small student, with the equations of distillation_mnist_omitted_3.py.
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

/** Where `values` are not 0, and what they are there. */
function nonzeros(values) {
  const [where, there] = [new Int32Array(values.length), new Float32Array(values.length)];
  let n = 0;
  for (let i = 0; i < values.length; i++) {
    if (values[i] === 0) continue;
    where[n] = i;
    there[n++] = values[i];
  }
  return [where.subarray(0, n), there.subarray(0, n)];
}

/** The outputs of a layer. Inputs that are 0, most of an image and of what ReLU leaves, cost nothing. */
function layerForward({ weights, biases }, inputs) {
  const [where, values] = nonzeros(inputs);
  const outputs = new Float32Array(biases.length);
  for (let row = 0; row < biases.length; row++) {
    const start = row * inputs.length;
    let sum = biases[row];
    for (let k = 0; k < where.length; k++) sum += weights[start + where[k]] * values[k];
    outputs[row] = sum;
  }
  return outputs;
}

/** What each layer sees of an image (784 pixels, 0 to 1), and last the logits. */
function activationsOf({ background, layers }, pixels) {
  const found = [new Float32Array(pixels.length)];
  for (let i = 0; i < pixels.length; i++) found[0][i] = background + (1 - background) * pixels[i];
  layers.forEach((layer, index) => {
    const outputs = layerForward(layer, found[index]);
    const isHidden = index + 1 < layers.length;
    for (let i = 0; isHidden && i < outputs.length; i++) if (outputs[i] < 0) outputs[i] = 0;
    found.push(outputs);
  });
  return found;
}

/**
 * Back-propagate `delta`, a gradient by the logits, after `activationsOf`. With `gradients`, layers like the
 * network's, it is added to them; without, this gives the gradient by the network's inputs.
 */
function backward({ layers }, activations, delta, gradients = null) {
  for (let index = layers.length - 1; index >= 0; index--) {
    const below = activations[index];
    if (gradients) addGradient(gradients[index], delta, below);
    if (gradients && index === 0) return null;
    const { weights } = layers[index];
    const passed = new Float64Array(below.length);
    for (let row = 0; row < delta.length; row++) {
      const d = delta[row];
      if (d === 0) continue;
      const start = row * below.length;
      for (let i = 0; i < passed.length; i++) passed[i] += d * weights[start + i];
    }
    if (index > 0) for (let i = 0; i < passed.length; i++) if (below[i] <= 0) passed[i] = 0; // slope of ReLU
    delta = passed;
  }
  return delta;
}

/** Add to a layer's gradients what an image does to it: `delta` is the gradient by the layer's outputs. */
function addGradient({ weights, biases }, delta, inputs) {
  const [where, values] = nonzeros(inputs);
  for (let row = 0; row < delta.length; row++) {
    const d = delta[row];
    if (d === 0) continue;
    biases[row] += d;
    const start = row * inputs.length;
    for (let k = 0; k < where.length; k++) weights[start + where[k]] += d * values[k];
  }
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
  const delta = Float64Array.from(p, (value, c) => (c === target ? 1 : 0) - value);
  const gradient = backward(network, activations, delta);
  return { logP: Math.log(p[target]), gradient: gradient.map((d) => (1 - network.background) * d) };
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

// ---- A student that learns in the page -----------------------------------------------------------------

/** Numbers in [0, 1) that follow from `seed`: mulberry32. */
function randomBy(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A new network as in He et al. (2015): weights normal with variance 2 / fan_in, biases 0. */
function newNetwork(sizes, random) {
  // Box & Muller (1958)
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const layers = sizes.slice(1).map((fanOut, index) => {
    const spread = Math.sqrt(2 / sizes[index]);
    const weights = Float32Array.from({ length: fanOut * sizes[index] }, () => spread * normal());
    return { weights, biases: new Float32Array(fanOut) };
  });
  return { sizes, background: 0, layers };
}

/** The step size at step 0 .. nSteps - 1: rises over the first 5 % of the steps, then falls to 0. */
function learningRateAt(step, nSteps, peak) {
  const warmUp = Math.max(1, Math.round(0.05 * nSteps));
  if (step < warmUp) return (peak * (step + 1)) / warmUp;
  return (peak * (nSteps - step)) / Math.max(1, nSteps - warmUp);
}

/**
 * dLoss/dlogits of one image: (1 - w) T^2 KL(p || q), whose gradient is T (q - p) with both softmaxes at T,
 * and w times the cross-entropy with the label, whose gradient is q - onehot at T = 1 (section 2, equations 2
 * to 4).
 */
function lossGradient(logits, softTargets, label, temperature, hardWeight) {
  const gradient = new Float64Array(logits.length);
  if (hardWeight < 1) {
    const q = softmax(logits, temperature);
    for (let c = 0; c < q.length; c++) gradient[c] = (1 - hardWeight) * temperature * (q[c] - softTargets[c]);
  }
  if (hardWeight > 0) {
    const q = softmax(logits);
    for (let c = 0; c < q.length; c++) gradient[c] += hardWeight * (q[c] - (c === label ? 1 : 0));
  }
  return gradient;
}

/** A network that learns, in place, by Adam (Kingma & Ba 2015, algorithm 1). */
class Learner {
  constructor(network) {
    this.network = network;
    const zeros = () => network.layers.map(({ weights, biases }) => {
      return { weights: new Float32Array(weights.length), biases: new Float32Array(biases.length) };
    });
    [this.gradients, this.first, this.second] = [zeros(), zeros(), zeros()];
    this.nSteps = 0;
  }

  /** One step of Adam along the gradients, which are then 0 again. */
  update(rate, [beta1, beta2, epsilon] = [0.9, 0.999, 1e-8]) {
    this.nSteps += 1;
    const [first, second] = [1 - beta1 ** this.nSteps, 1 - beta2 ** this.nSteps];
    this.network.layers.forEach((layer, index) => {
      for (const part of ["weights", "biases"]) {
        const [theta, g] = [layer[part], this.gradients[index][part]];
        const [m, v] = [this.first[index][part], this.second[index][part]];
        for (let i = 0; i < theta.length; i++) {
          m[i] = beta1 * m[i] + (1 - beta1) * g[i];
          v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
          if (m[i] !== 0) theta[i] -= (rate * m[i]) / first / (Math.sqrt(v[i] / second) + epsilon);
        }
        g.fill(0);
      }
    });
  }

  /** A step on a batch: numbers of images of the lesson {images, labels, softTargets}. */
  step(batch, { images, labels, softTargets }, { temperature, hardWeight }, rate) {
    for (const i of batch) {
      const activations = activationsOf(this.network, pixelsAt(images, i));
      const targets = softTargets.subarray(10 * i, 10 * i + 10);
      const gradient = lossGradient(activations.at(-1), targets, labels[i], temperature, hardWeight);
      const ofMean = gradient.map((one) => one / batch.length);
      backward(this.network, activations, ofMean, this.gradients);
    }
    this.update(rate);
  }
}

/** The i-th of `images` (n x 784 bytes), 0 to 1. */
function pixelsAt(images, i) {
  const pixels = new Float32Array(784);
  for (let k = 0; k < 784; k++) pixels[k] = images[784 * i + k] / 255;
  return pixels;
}

/** The logits (n x 10) of images (n x 784 bytes). */
function logitsOfAll(network, images) {
  const found = new Float32Array((10 * images.length) / 784);
  for (let i = 0; i < found.length / 10; i++) found.set(logitsOf(network, pixelsAt(images, i)), 10 * i);
  return found;
}

/** Soft targets (n x 10): equation 1 at T, of the teacher's logits (n x 10). */
function softTargetsOf(logits, temperature) {
  const found = new Float32Array(logits.length);
  for (let at = 0; at < logits.length; at += 10) {
    found.set(softmax(logits.subarray(at, at + 10), temperature), at);
  }
  return found;
}

/**
 * The offset of one class's bias at which its mean probability over `logits` (n x 10), T = 1, is `target`:
 * binary search, as it rises with the offset. null where none from -50 to 50 reaches it.
 */
function matchedOffset(logits, chosen, target) {
  const n = logits.length / 10;
  // the log of what the others have, less the class's own: p = 1 / (1 + e^margin)
  const margins = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const z = logits.subarray(10 * i, 10 * i + 10);
    const largest = Math.max(...z);
    let others = 0;
    for (let c = 0; c < 10; c++) if (c !== chosen) others += Math.exp(z[c] - largest);
    margins[i] = Math.log(others) + largest - z[chosen];
  }
  const mean = (offset) => margins.reduce((sum, margin) => sum + 1 / (1 + Math.exp(margin - offset)), 0) / n;
  let [low, high] = [-50, 50];
  if (mean(low) > target || mean(high) < target) return null;
  while (high - low > 1e-9) {
    const middle = (low + high) / 2;
    if (mean(middle) < target) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** `values` in another order. */
function shuffled(values, random) {
  const found = Array.from(values);
  for (let i = found.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [found[i], found[j]] = [found[j], found[i]];
  }
  return found;
}

/**
 * Trains a student that never sees `digit`, and yields now and then what became of it: {step, network, logits
 * of the test images, offset}. `lesson`: {images, labels, logits (the teacher's), test} of all ten digits; of
 * `digit` it learns from none: these only stand, without labels, among the images that choose the offset.
 * `settings`: {digit, temperature, hardWeight, nImages, seed}; `plan`: {hidden, steps, batch, rate, reports}.
 */
function* training({ images, labels, logits, test }, settings, plan) {
  const random = randomBy(settings.seed);
  const seen = [...labels.keys()].filter((i) => labels[i] !== settings.digit).slice(0, settings.nImages);
  const target = labels.filter((label) => label === settings.digit).length / labels.length;
  const network = newNetwork([784, ...plan.hidden, 10], random);
  const learner = new Learner(network);
  const softTargets = softTargetsOf(logits, settings.temperature);
  const report = (step) => {
    const offset = matchedOffset(logitsOfAll(network, images), settings.digit, target);
    return { step, network, logits: logitsOfAll(network, test), offset };
  };
  yield report(0);
  let order = [];
  for (let step = 0; step < plan.steps; step++) {
    if (!order.length) order = shuffled(seen, random);
    const batch = order.splice(0, plan.batch);
    const rate = learningRateAt(step, plan.steps, plan.rate);
    learner.step(batch, { images, labels, softTargets }, settings, rate);
    const due = (after) => Math.floor((after * plan.reports) / plan.steps);
    if (due(step + 1) > due(step)) yield report(step + 1);
  }
}

if (typeof module !== "undefined") {
  module.exports = {
    weightsOf, logitsOf, softmax, withOffsets, largestOf, inputGradient, smoothed, stepTowards, randomBy,
    newNetwork, learningRateAt, lossGradient, Learner, softTargetsOf, matchedOffset, training,
  };
}
