"use strict";
/* The parts that move: the student's epochs, and the walk of each network towards a class. */

// ---- Epoch by epoch -------------------------------------------------------------------------------------

function startEpochs() {
  const n = arrays.galleryNumbers.length;
  const nEpochs = about.history.length;
  const slider = byId("epoch");
  const canvas = byId("mosaic");
  slider.max = nEpochs;
  slider.value = 1;
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

  let marked = 0; // by the keys, the place of a digit
  const across = 32; // digits in a row of the sprite
  let digits;
  const paintDigits = () => {
    digits = spriteOf(arrays.gallery, across, colourOf("--panel"));
  };
  const paint = () => {
    const epoch = Number(slider.value);
    const cell = Math.max(2, Math.floor((canvas.clientWidth * devicePixelRatio) / columns));
    [canvas.width, canvas.height] = [cell * columns, cell * rows];
    const context = canvas.getContext("2d");
    const [right, wrong] = [colourOf("--student"), colourOf("--omitted")];
    order.forEach((i, place) => {
      const p = arrays.epochOwn[(epoch - 1) * n + i] / 255;
      context.fillStyle = isRight(epoch, i) ? right : wrong;
      context.globalAlpha = isRight(epoch, i) ? 0.25 + 0.75 * p : 1;
      const [x, y] = [(place % columns) * cell, Math.floor(place / columns) * cell];
      context.fillRect(x, y, cell - 1, cell - 1);
      context.globalAlpha = 0.9;
      const from = [SIDE * (i % across), SIDE * Math.floor(i / across)];
      context.drawImage(digits, ...from, SIDE, SIDE, x, y, cell - 1, cell - 1);
    });
    if (document.activeElement !== canvas) return;
    context.globalAlpha = 1;
    context.strokeStyle = colourOf("--ink");
    context.lineWidth = 3;
    context.strokeRect((marked % columns) * cell, Math.floor(marked / columns) * cell, cell - 1, cell - 1);
  };
  const show = () => {
    const epoch = Number(slider.value);
    let nRight = 0;
    for (let i = 0; i < n; i++) nRight += isRight(epoch, i);
    const { test_accuracy: all } = about.history[epoch - 1];
    byId("epoch-value").textContent = `${epoch} of ${nEpochs}`;
    const result = byId("epoch-result");
    const read = n === 1
      ? `${nRight ? "reads" : "does not read"} the one digit shown; it reads`
      : `reads ${count(nRight)} of these ${count(n)} ${words.digits} and`;
    result.textContent =
      `After epoch ${epoch} it ${read} ${(100 * all).toFixed(2)} % of all test images.`;
    result.dataset.right = nRight;
    canvas.setAttribute("aria-label", `${count(nRight)} of ${count(n)} right after epoch ${epoch}`);
    paint();
    drawEpochs();
  };
  const drawEpochs = () => {
    const errors = (share, of) => Math.round((1 - share) * of);
    const points = (key, of) => about.history.map((entry, i) => [i + 1, errors(entry[key], of)]);
    const all = points("test_accuracy", about.test.n);
    const series = [{ label: "all", colour: colourOf("--student"), points: all }];
    if (words.unseen) {
      const unseen = points("omitted_accuracy", about.test.nUnseen);
      const label = about.omitted.length === 1 ? `on ${words.unseen}` : "unseen";
      series.push({ label, colour: colourOf("--omitted"), points: unseen });
    }
    drawChart(byId("epoch-chart"), {
      title: "The student's test errors after each epoch",
      xLabel: "epoch",
      yLabel: "test errors",
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
  const pick = (i) => {
    if (i === undefined) return;
    showGalleryDigit(i);
    showPad();
  };
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    pick(order[Math.floor(((event.clientY - box.top) / box.height) * rows) * columns + column]);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") pick(order[marked]);
    else if (!step) return;
    else if (order[marked + step] !== undefined) marked += step;
    event.preventDefault();
    const is = isRight(Number(slider.value), order[marked]) ? "right" : "wrong";
    byId("mosaic-status").textContent = `Digit ${marked + 1} of ${n}: ${galleryLabel(order[marked])}, ${is}`;
    paint();
  });
  canvas.addEventListener("focus", () => paint());
  canvas.addEventListener("blur", () => paint());
  byId("epoch-legend").append(legend("var(--student)", "right"), legend("var(--omitted)", "wrong"));
  recolourers.push(paintDigits);
  repainters.push(show);
  paintDigits();
  show();
}

// ---- The walk -------------------------------------------------------------------------------------------

function startWalk() {
  const select = byId("target");
  const first = about.omitted.length < 10 ? about.omitted[0] : 3;
  for (let c = 0; c < 10; c++) {
    select.append(element("option", { value: c, textContent: c, selected: c === first }));
  }
  const walkers = about.networks.map((one, of) => {
    const canvas = () => element("canvas", { width: SIDE, height: SIDE, role: "img" });
    const [now, change] = [canvas(), canvas()];
    const [bar, text] = [element("div", { className: "bar" }), element("p")];
    change.setAttribute("aria-label", "what it changed");
    const pair = element(
      "div", { className: "pair" },
      element("div", {}, now, "the digit now"), element("div", {}, change, "ink added; orange: erased"),
    );
    const box = element(
      "div", { className: "walker", "data-network": one.key, style: { "--accent": one.colour } },
      element("h3", { textContent: one.name }), pair, element("div", { className: "track" }, bar), text,
    );
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
    const arrived = walker.steps ? "." : " already; start from another digit.";
    walker.text.textContent =
      `Step ${walker.steps}: it says ${best} (${percent(p[best])})`
      + (best === target ? arrived : `, ${target} with ${percent(p[target])}.`);
    walker.now.setAttribute("aria-label", `The digit after ${walker.steps} steps`);
    walker.box.dataset.p = p[target];
    walker.box.dataset.steps = walker.steps;
    walker.done = p[target] >= about.walk.enough || walker.steps >= about.walk.most;
  };
  const reset = () => {
    stop();
    const isEmpty = padIsEmpty();
    from = Float64Array.from(isEmpty ? inked(otherDigit().bytes) : pad.pixels);
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
  /** A training image of another class than the target. */
  function otherDigit() {
    const target = Number(select.value);
    const order = [8, 5, 2, 9, 7, 0, 4, 1, 6, 3].filter((c) => c !== target);
    const rowOf = (c) => about.training.findIndex((one) => one.class === c);
    const rows = order.map(rowOf).filter((row) => row >= 0);
    const row = rows[other % rows.length];
    const one = about.training[row];
    const digit = `${article(one.class)} of the training set`;
    const what = words.likeness ? digit : "an image that the student saw";
    return { bytes: trainingBytes(row, one.images - 1), what };
  }
  byId("walk-other").addEventListener("click", () => {
    const { bytes, what } = otherDigit();
    other += 1;
    putOnPad(bytes, what);
  });
  const sayArticle = () => (byId("target-article").textContent = article(select.value).split(" ")[0]);
  sayArticle();
  select.addEventListener("change", () => {
    sayArticle();
    reset();
  });
  let later = 0;
  listeners.push(() => {
    clearTimeout(later);
    stop();
    later = setTimeout(reset, 250); // when the pen rests: a stroke must not wait for it
  });
  recolourers.push(() => walkers.forEach(show));
  reset();
}

/** Changes of pixels (784), -1 to 1: added ink in the colour of the text, erased in that of the unseen. */
function paintChange(canvas, changes) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  const [ink, erased] = [channels(colourOf("--ink")), channels(colourOf("--omitted"))];
  changes.forEach((change, i) => {
    image.data.set([...(change > 0 ? ink : erased), Math.round(255 * Math.min(1, Math.abs(change)))], 4 * i);
  });
  context.putImageData(image, 0, 0);
}
