"use strict";
/*
 * What the page holds, its arrays and its networks, and how many errors are made on its test images. Pure
 * functions, for the browser and for Node.
 */

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

/**
 * Errors on test images: {all, unseen, mistaken, guesses}; mistaken are those of seen classes that are taken
 * for an unseen one. `logits` (n x 10) flat, `isUnseen` says it of a class.
 */
function errorsOf(logits, labels, offsets, isUnseen) {
  const n = labels.length;
  const added = Float32Array.from(offsets);
  const guesses = new Uint8Array(n);
  let [all, unseen, mistaken] = [0, 0, 0];
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
      else if (isUnseen[best]) mistaken += 1;
    }
  }
  return { all, unseen, mistaken, guesses };
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

if (typeof module !== "undefined") {
  module.exports = { arraysOf, unpacked, networksOf, errorsOf, errorCurve };
}
