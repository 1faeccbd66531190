"use strict";
/* The parts below the canvas, each a function that starts it. */

// ---- The bias ----------------------------------------------------------------------------------------------

/** Images by the status of the test digits shown: how they fare as trained and at the offsets of now. */
const fates = { names: {}, of: [], trained: null };

function startBias() {
  const [lo, hi] = correction.range;
  const { classes, best } = correction;
  const alone = classes.length === 1;
  const grid = Array.from({ length: 40 * (hi - lo) + 1 }, (_, i) => lo + i / 40);
  const sliders = new Map();
  let chosen = classes.find((c) => isUnseen[c]) ?? classes[0]; // the class that the curve is about
  fates.trained = errorsOf(arrays.logits, arrays.labels, new Array(10).fill(0), isUnseen);

  const show = () => {
    for (const [c, { input, output }] of sliders) {
      input.value = offsets[c];
      input.setAttribute("aria-valuetext", signed(offsets[c]));
      output.textContent = signed(offsets[c]);
    }
    const found = errorsOf(arrays.logits, arrays.labels, offsets, isUnseen);
    const onUnseen = words.unseen
      ? `, ${count(found.unseen)} of ${count(about.test.nUnseen)} on ${words.unseen}`
      : "";
    byId("errors").textContent =
      `The corrected student makes ${count(found.all)} errors on ${count(about.test.n)} test images${onUnseen}. `
      + `The teacher makes ${count(about.results.teacher.test_errors)}.`;
    byId("errors").dataset.all = found.all;
    byId("errors").dataset.unseen = found.unseen;
    fates.now = found;
    cards.show();
    showFates();
    drawCurve();
  };
  const drawCurve = () => {
    const curve = errorCurve(arrays.logits, arrays.labels, offsets, isUnseen, chosen, grid);
    const series = [{ label: "all", colour: colourOf("--corrected"), points: curve.map((p) => [p.offset, p.all]) }];
    if (words.unseen) {
      const label = alone ? `on ${words.unseen}` : "unseen";
      series.push({ label, colour: colourOf("--omitted"), points: curve.map((p) => [p.offset, p.unseen]) });
    }
    const marks = [{ x: correction.offsets[classes.indexOf(chosen)], colour: colourOf("--corrected"), shape: "triangle" }];
    if (best) marks.push({ x: best.offset, colour: colourOf("--soft"), shape: "diamond" });
    drawChart(byId("error-chart"), {
      title: `Test errors by the offset of class ${chosen}`,
      xLabel: `offset of the bias of ${chosen}`,
      xTicks: ticks(lo, hi, 10),
      cursor: offsets[chosen],
      series,
      marks,
    });
  };
  const set = (values) => {
    classes.forEach((c, i) => (offsets[c] = values[i]));
    show();
  };
  for (const c of classes) {
    const id = `offset-${c}`;
    const output = element("output", { htmlFor: id });
    const input = element("input", { type: "range", id, min: lo, max: hi, step: "any" });
    input.addEventListener("input", () => {
      offsets[c] = Math.round(100 * Number(input.value)) / 100;
      chosen = c;
      show();
    });
    input.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.05, ArrowDown: -0.05, ArrowRight: 0.05, ArrowUp: 0.05 }[event.key];
      if (!step) return;
      event.preventDefault();
      offsets[c] = Math.min(hi, Math.max(lo, Math.round(100 * (offsets[c] + step)) / 100));
      chosen = c;
      show();
    });
    sliders.set(c, { input, output });
    const label = element("label", { className: "slider", htmlFor: id }, `Offset of the bias of ${c} `, output);
    byId("offsets").append(label, input);
  }
  byId("offset-none").addEventListener("click", () => set(classes.map(() => 0)));
  byId("offset-chosen").addEventListener("click", () => set(correction.offsets));
  byId("offset-best").hidden = !best;
  if (best) byId("offset-best").addEventListener("click", () => set(classes.map((c) => (isUnseen[c] ? best.offset : 0))));
  const mine = alone ? `, ${signed(correction.offsets[0])}` : "";
  byId("error-legend").append(legend("var(--corrected)", `chosen without labels${mine}`, "triangle"));
  if (best) {
    const what = `fewest errors on the test set, ${signed(best.offset)}${alone ? "" : " for all unseen"}`;
    byId("error-legend").append(legend("var(--soft)", what, "diamond"));
  }
  repainters.push(drawCurve);
  startBias.show = show;
  classes.forEach((c, i) => (offsets[c] = correction.offsets[i]));
}

// ---- The temperature ---------------------------------------------------------------------------------------

function startTemperature() {
  const [lo, hi] = about.temperatures;
  const slider = byId("t");
  const [bars, teacher] = [new Bars(isUnseen, { relative: true }), about.networks[0]];
  const rows = [];
  let chosen = { row: 0, at: 0 };
  Object.assign(slider, { min: lo, max: hi, value: Math.min(hi, Math.max(lo, about.temperature)) });
  byId("learned-t").textContent = words.t;
  byId("answer-bars").append(bars.list);
  byId("answer-bars").style.setProperty("--accent", teacher.colour);

  const bytesOf = ({ row, at }) => {
    const first = about.training.slice(0, row).reduce((sum, one) => sum + one.images, 0) + at;
    return arrays.training.subarray(784 * first, 784 * first + 784);
  };
  const show = () => {
    const t = Number(slider.value);
    const pixels = Float32Array.from(bytesOf(chosen), (value) => value / 255);
    const p = softmax(logitsOf(networks[0], pixels), t);
    const one = about.training[chosen.row];
    bars.show(p);
    paintPixels(byId("answer-image"), pixels, colourOf("--ink"));
    byId("t-value").textContent = `T = ${t}`;
    slider.setAttribute("aria-valuetext", `T = ${t}`);
    const others = about.omitted.filter((c) => c !== one.class);
    const best = others.reduce((a, c) => (p[c] > p[a] ? c : a), others[0]);
    const rest = words.likeness ? best : p.map((v, c) => [c === one.class ? -1 : v, c]).sort((x, y) => y[0] - x[0])[0][1];
    const name = words.likeness ? `a ${one.class}`.replace("a 8", "an 8") : `this image, most like ${article(largestOf(p))},`;
    byId("answer").textContent = one.kind === "unseen"
      ? `${article(one.class)}, which the student never got: at T = ${t} the teacher gives it ${percent(p[one.class])} for ${one.class}.`
      : `To the teacher, ${words.likeness ? `this ${one.class}` : name} is ${percent(p[rest])} ${article(rest)} at T = ${t}.`;
    byId("answer").dataset.p = p[rest];
  };
  byId("training").style.setProperty("--split", `${about.nLike}fr ${14 - about.nLike}fr`);
  const like = words.likeness ? `most ${words.likeness}` : "most like it";
  byId("training").append(element("div", { className: "heads", "aria-hidden": "true" },
    element("span"), element("div", {}, element("span", { textContent: `${like} to the teacher` }), element("span", { textContent: "typical" }))));
  about.training.forEach((one, row) => {
    const never = one.kind === "unseen";
    const box = element("div", { className: "tiles" });
    const name = element("span", { textContent: never ? `${one.class}s, never shown` : `${one.class}s` });
    byId("training").append(element("div", { className: `row${never ? " never" : ""}` }, name, box));
    const first = bytesOf({ row, at: 0 }).byteOffset;
    const images = new Uint8Array(arrays.training.buffer, first, 784 * one.images);
    const tiles = new Tiles(box, images, `Training images of ${one.class}`, (at) => choose({ row, at }));
    tiles.tiles.forEach((tile, at) => {
      const kind = never ? "never shown" : at < about.nLike ? like : "typical";
      tile.setAttribute("aria-label", `${one.class}, ${kind}, ${at + 1} of ${one.images}`);
    });
    rows.push(tiles);
  });
  const choose = (picked) => {
    chosen = picked;
    rows.forEach((tiles, row) => tiles.choose(row === picked.row ? picked.at : -1));
    show();
  };
  slider.addEventListener("input", show);
  repainters.push(() => {
    rows.forEach((tiles) => tiles.paint());
    show();
  });
  const five = about.training.findIndex((one) => one.class === 5 && one.kind === "seen");
  choose({ row: Math.max(0, five), at: 0 });
}

// ---- All test digits ---------------------------------------------------------------------------------------

let tiles;
let filter = "all";
const FATES = { right: "right at once", repaired: "repaired", never: "never", lost: "lost by the bias" };

/** What became of the i-th digit shown. */
function fateOf(i) {
  const number = arrays.galleryNumbers[i];
  const label = arrays.labels[number];
  const [before, after] = [fates.trained, fates.now].map(({ guesses }) => guesses[number] === label);
  return before ? (after ? "right" : "lost") : after ? "repaired" : "never";
}

/** Colour the tiles, and count. */
function showFates() {
  const counts = { right: 0, repaired: 0, never: 0, lost: 0 };
  const names = Object.keys(counts);
  tiles?.tiles.forEach((tile, i) => {
    const fate = fateOf(i);
    counts[fate] += 1;
    const guess = fates.now.guesses[arrays.galleryNumbers[i]];
    const label = `${galleryLabel(i)}, read as ${guess}, ${FATES[fate]}`;
    if (tile.dataset.label !== label) {
      tile.dataset.label = label;
      tile.dataset.status = fate;
      tile.classList.remove(...names.map((name) => `status-${name}`));
      tile.classList.add(`status-${fate}`);
      tile.setAttribute("aria-label", label);
      tile.title = label;
    }
    tile.hidden = filter !== "all" && filter !== fate;
  });
  for (const button of byId("filters").children) {
    const name = button.dataset.fate;
    const n = name === "all" ? arrays.galleryNumbers.length : counts[name];
    button.lastChild.textContent = ` ${count(n)}`;
    button.dataset.n = n;
    button.hidden = name === "lost" && n === 0 && filter !== "lost";
    button.setAttribute("aria-pressed", String(name === filter));
  }
  const shown = tiles?.tiles.filter((tile) => !tile.hidden) ?? [];
  if (shown.length && !shown.some((tile) => tile.tabIndex === 0)) shown[0].tabIndex = 0;
}

function startGallery() {
  const n = arrays.galleryNumbers.length;
  byId("gallery-scope").textContent = n < about.test.nUnseen
    ? `${count(n)} of ${count(about.test.nUnseen)}, as many of each class.`
    : `${count(n)} of them.`;
  for (const [fate, name] of Object.entries({ all: "all", ...FATES })) {
    const swatch = element("span", { className: `swatch status-${fate}`, "aria-hidden": "true" });
    const button = element("button", { type: "button", "data-fate": fate }, ...(fate === "all" ? [] : [swatch]), name, "");
    button.addEventListener("click", () => {
      filter = fate;
      showFates();
    });
    byId("filters").append(button);
  }
  tiles = new Tiles(byId("tiles"), arrays.gallery, `Test ${words.digits}`, (i) => {
    showGalleryDigit(i);
    tiles.choose(i);
    byId("pad").scrollIntoView({ block: "nearest" });
  });
  repainters.push(() => tiles.paint());
  startBias.show();
}

// ---- Epoch by epoch ----------------------------------------------------------------------------------------

function startEpochs() {
  const n = arrays.galleryNumbers.length;
  const nEpochs = about.history.length;
  const slider = byId("epoch");
  const canvas = byId("mosaic");
  slider.max = nEpochs;
  slider.value = nEpochs;
  const isRight = (epoch, i) => arrays.epochGuesses[(epoch - 1) * n + i] === galleryLabel(i);
  // In the order in which they were learned: by the epoch after which no error is left, then hardest last.
  const learned = Array.from({ length: n }, (_, i) => {
    let epoch = nEpochs;
    while (epoch > 0 && isRight(epoch, i)) epoch -= 1;
    return epoch;
  });
  const order = Array.from({ length: n }, (_, i) => i).sort((a, b) => learned[a] - learned[b] || b - a);
  const columns = Math.min(36, Math.ceil(Math.sqrt(1.4 * n)));
  const rows = Math.ceil(n / columns);

  const paint = () => {
    const epoch = Number(slider.value);
    const cell = Math.max(2, Math.floor((canvas.parentElement.clientWidth * devicePixelRatio) / columns / 1.7));
    [canvas.width, canvas.height] = [cell * columns, cell * rows];
    const context = canvas.getContext("2d");
    const [right, wrong] = [colourOf("--student"), colourOf("--omitted")];
    order.forEach((i, place) => {
      const p = arrays.epochOwn[(epoch - 1) * n + i] / 255;
      context.fillStyle = isRight(epoch, i) ? right : wrong;
      context.globalAlpha = isRight(epoch, i) ? 0.25 + 0.75 * p : 1;
      context.fillRect((place % columns) * cell, Math.floor(place / columns) * cell, cell - 1, cell - 1);
    });
  };
  const show = () => {
    const epoch = Number(slider.value);
    let nRight = 0;
    for (let i = 0; i < n; i++) nRight += isRight(epoch, i);
    const { test_accuracy: all } = about.history[epoch - 1];
    byId("epoch-value").textContent = `${epoch} of ${nEpochs}`;
    const result = byId("epoch-result");
    result.textContent =
      `After epoch ${epoch} it reads ${count(nRight)} of these ${count(n)} ${words.digits} and ${
        (100 * all).toFixed(2)} % of all test images.`;
    result.dataset.right = nRight;
    canvas.setAttribute("aria-label", `${count(nRight)} of ${count(n)} right after epoch ${epoch}`);
    paint();
    drawEpochs();
  };
  const drawEpochs = () => {
    const errors = (share, of) => Math.round((1 - share) * of);
    const points = (key, of) => about.history.map((entry, i) => [i + 1, errors(entry[key], of)]);
    const series = [{ label: "all", colour: colourOf("--student"), points: points("test_accuracy", about.test.n) }];
    if (words.unseen) {
      const label = about.omitted.length === 1 ? `on ${words.unseen}` : "unseen";
      series.push({ label, colour: colourOf("--omitted"), points: points("omitted_accuracy", about.test.nUnseen) });
    }
    drawChart(byId("epoch-chart"), {
      title: "The student's test errors after each epoch",
      xLabel: "epoch",
      xTicks: ticks(1, nEpochs, 9),
      cursor: Number(slider.value),
      series,
    });
  };
  const stop = playButton(byId("epoch-play"), () => {
    const at = Number(slider.value);
    slider.value = at < nEpochs ? at + 1 : 1;
    show();
    return Number(slider.value) < nEpochs;
  }, 350);
  slider.addEventListener("input", () => {
    stop();
    show();
  });
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const i = order[Math.floor(((event.clientY - box.top) / box.height) * rows) * columns + column];
    if (i === undefined) return;
    showGalleryDigit(i);
    byId("pad").scrollIntoView({ block: "nearest" });
  });
  byId("epoch-legend").append(legend("var(--student)", "right"), legend("var(--omitted)", "wrong"));
  repainters.push(show);
  show();
}

// ---- The walk ----------------------------------------------------------------------------------------------

function startWalk() {
  const select = byId("target");
  const first = about.omitted.length < 10 ? about.omitted[0] : 3;
  for (let c = 0; c < 10; c++) select.append(element("option", { value: c, textContent: c, selected: c === first }));
  const walkers = about.networks.map((one, of) => {
    const canvas = () => element("canvas", { width: SIDE, height: SIDE, role: "img" });
    const [now, change] = [canvas(), canvas()];
    const [bar, text] = [element("div", { className: "bar" }), element("p")];
    change.setAttribute("aria-label", "what it changed");
    const pair = element("div", { className: "pair" },
      element("div", {}, now, "the digit now"), element("div", {}, change, "ink added, ink erased"));
    const box = element("div", { className: "walker", "data-network": one.key, style: { "--accent": one.colour } },
      element("h3", { textContent: one.name }), pair, element("div", { className: "track" }, bar), text);
    byId("walkers").append(box);
    return { of, box, now, change, bar, text, pixels: null, steps: 0 };
  });
  let from = null;

  const show = (walker) => {
    const target = Number(select.value);
    const p = softmax(logitsOf(networks[walker.of], walker.pixels));
    const best = largestOf(p);
    paintPixels(walker.now, walker.pixels, colourOf("--ink"));
    const added = walker.pixels.map((value, i) => value - from[i]);
    paintChange(walker.change, added);
    walker.bar.style.transform = `scaleX(${p[target]})`;
    walker.text.textContent =
      `Step ${walker.steps}: it says ${best} (${percent(p[best])})` + (best === target ? "." : `, ${target} with ${percent(p[target])}.`);
    walker.now.setAttribute("aria-label", `The digit after ${walker.steps} steps`);
    walker.box.dataset.p = p[target];
    walker.box.dataset.steps = walker.steps;
    walker.done = p[target] >= about.walk.enough || walker.steps >= about.walk.most;
  };
  const reset = () => {
    stop();
    from = Float64Array.from(pad.pixels);
    for (const walker of walkers) {
      Object.assign(walker, { pixels: from, steps: 0 });
      show(walker);
    }
  };
  /** One step of each that has not arrived; whether there is more to do. */
  const step = () => {
    for (const walker of walkers.filter(({ done }) => !done)) {
      const { pixels } = stepTowards(networks[walker.of], walker.pixels, Number(select.value), about.walk);
      Object.assign(walker, { pixels, steps: walker.steps + 1 });
      show(walker);
    }
    const more = walkers.some(({ done }) => !done);
    if (!more) {
      const said = walkers.map(({ of, text }) => `${about.networks[of].name}: ${text.textContent}`);
      byId("walk-result").textContent = said.join(" ");
    }
    return more;
  };
  const stop = playButton(byId("walk-play"), step, 60);
  byId("walk-step").addEventListener("click", () => {
    stop();
    step();
  });
  byId("walk-reset").addEventListener("click", reset);
  let other = 0;
  byId("walk-other").addEventListener("click", () => {
    const target = Number(select.value);
    const order = [8, 5, 2, 9, 7, 0, 4, 1, 6, 3].filter((c) => c !== target);
    const rows = order.map((c) => about.training.findIndex((one) => one.class === c)).filter((row) => row >= 0);
    const row = rows[other++ % rows.length];
    const at = about.training.slice(0, row).reduce((sum, one) => sum + one.images, 0)
      + Math.max(0, about.training[row].images - 1);
    putOnPad(arrays.training.subarray(784 * at, 784 * at + 784), `${article(about.training[row].class)} of the training set`);
    pad.isExample = false;
  });
  select.addEventListener("change", reset);
  let later = 0;
  listeners.push(() => {
    clearTimeout(later);
    stop();
    later = setTimeout(reset, 250); // when the pen rests: a stroke must not wait for it
  });
  repainters.push(() => walkers.forEach(show));
  reset();
}

/** Changes of pixels (784), -1 to 1: added ink in the colour of the text, erased ink in vermillion. */
function paintChange(canvas, changes) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  const [ink, erased] = [channels(colourOf("--ink")), channels(colourOf("--omitted"))];
  changes.forEach((change, i) => {
    image.data.set([...(change > 0 ? ink : erased), Math.min(255, Math.round(255 * Math.abs(change)))], 4 * i);
  });
  context.putImageData(image, 0, 0);
}
