"use strict";
/* The student that learns in the page, in a worker, of a digit that it never sees. */

const learning = {
  runs: [], // the newest first, two at most
  worker: null,
  lesson: null,
  n: 0,

  /** The settings that the controls show. */
  settings() {
    const value = (id) => Number(byId(id).value);
    return {
      digit: value("learn-digit"), temperature: value("learn-t"), hardWeight: value("learn-hard"),
      nImages: value("learn-images"), seed: this.seed,
    };
  },

  /** Train with the settings of now; what was under way is given up. */
  train() {
    this.stop();
    const settings = this.settings();
    this.n += 1;
    const run = new Run(settings, this.n);
    while (this.runs.length > 1) bias.withdraw(this.runs.pop().key);
    this.runs.unshift(run);
    byId("runs").replaceChildren(...this.runs.map(({ box }) => box));
    byId("learn-link").href = `#${fragmentOf(settings)}`;
    const code = [
      byId("network").textContent,
      "onmessage = ({ data: [lesson, settings, plan] }) => {",
      "for (const report of training(lesson, settings, plan)) postMessage(report); };",
    ];
    const address = URL.createObjectURL(new Blob(code, { type: "text/javascript" }));
    this.worker = new Worker(address); // from a Blob: a page opened as a file may load no other script
    URL.revokeObjectURL(address);
    this.worker.onmessage = ({ data }) => {
      run.hear(data);
      if (data.step === about.lesson.steps) this.stop();
    };
    this.worker.onerror = (event) => {
      this.stop();
      run.fail(event.message);
    };
    this.worker.postMessage([this.lesson, settings, about.lesson]);
    this.sayState();
    run.box.scrollIntoView({ block: "nearest" });
  },

  /** Stop where it is; the student that there is by now stays. */
  stop() {
    this.worker?.terminate();
    this.worker = null;
    this.runs[0]?.end();
    this.sayState();
  },

  sayState() {
    const busy = this.worker !== null;
    byId("learn-stop").disabled = !busy;
    byId("learn-again").disabled = busy || !this.runs.length;
    byId("learn-start").textContent = busy ? "Train anew" : "Train";
  },
};

/** "digit=3&t=20&hard=0&images=3000&seed=1" */
function fragmentOf({ digit, temperature, hardWeight, nImages, seed }) {
  return new URLSearchParams({ digit, t: temperature, hard: hardWeight, images: nImages, seed }).toString();
}

/** One training: its settings, what was heard of it, and what the page shows of it. */
class Run {
  constructor(settings, number) {
    this.settings = settings;
    this.key = `run-${number}`;
    this.points = [];
    this.isUnseen = Array.from({ length: 10 }, (_, c) => c === settings.digit);
    this.zero = new Array(10).fill(0);
    this.offsets = [...this.zero]; // the slider's
    const { digit, temperature, hardWeight, nImages, seed } = settings;
    const n = learning.lesson.labels.filter((label) => label !== digit).length;
    const from = hardWeight === 1
      ? "labels alone"
      : `the teacher's answers at T = ${temperature}${hardWeight ? `, labels weigh ${hardWeight}` : ""}`;
    this.name = `Student ${number}, no ${digit}`;
    this.note = `${from}; ${count(Math.min(nImages, n))} images; start ${seed}`;
    this.state = element("p", { className: "run-state", role: "status", textContent: "Starting …" });
    this.result = element("p", { className: "run-result" });
    this.bar = element("progress", { max: about.lesson.steps, value: 0, "aria-label": "Steps done" });
    this.chart = element("div", { className: "chart" });
    this.reads = element("canvas", { width: SIDE, height: SIDE, role: "img", className: "reads" });
    this.readsWhat = element("p", { className: "note" });
    this.cards = [["as trained", "var(--student)"], ["with its bias set", "var(--corrected)"]].map(
      ([name, colour]) => new ReadingCard(name, name, "", colour, this.isUnseen),
    );
    this.units = element("canvas", { className: "units", role: "img" });
    const raising = { type: "button", className: "strong", disabled: true, textContent: "Raise its bias" };
    this.raise = element("button", raising);
    this.raise.addEventListener("click", () => {
      bias.choose(this.student);
      byId("bias").scrollIntoView({ block: "start" });
      bias.raise();
    });
    this.box = element(
      "article", { className: "run", "data-run": this.key },
      element("h3", { textContent: this.name }), element("p", { className: "note", textContent: this.note }),
      this.bar, this.state, this.result, this.chart,
      element("div", { className: "seen" }, this.reads, this.readsWhat),
      element("div", { className: "cards two" }, ...this.cards.map(({ card }) => card)),
      this.raise,
      element(
        "details", {}, element("summary", { textContent: "Look inside: its 64 first units" }), this.units,
        element("p", { className: "note", textContent:
          "Each square is a unit's weights to the 28 × 28 pixels, dark where ink excites it, orange "
          + "where ink silences it. A unit lights up when the digit above excites it." })),
    );
    const i = learning.lesson.testLabels.indexOf(settings.digit);
    this.example = i < 0 ? null : inked(learning.lesson.test.subarray(784 * i, 784 * i + 784));
    this.box.querySelector("details").addEventListener("toggle", () => this.paintUnits());
  }

  /** A report of the worker (see `training`). */
  hear({ step, network, logits, offset }) {
    Object.assign(this, { step, network, logits, offset });
    const { testLabels: labels } = learning.lesson;
    const { digit } = this.settings;
    const added = this.zero.map((_, c) => (c === digit ? offset ?? 0 : 0));
    const [before, after] = [this.zero, added].map((one) => errorsOf(logits, labels, one, this.isUnseen));
    const nUnseen = labels.filter((label) => label === digit).length;
    const share = (errors, n) => (n ? 1 - errors / n : 0);
    const point = {
      step, before: share(before.unseen, nUnseen), after: share(after.unseen, nUnseen),
      others: share(before.all - before.unseen, labels.length - nUnseen),
      othersAfter: share(after.all - after.unseen, labels.length - nUnseen),
    };
    this.points.push(point);
    Object.assign(this.box.dataset, { step, before: point.before, after: point.after, others: point.others });
    this.bar.value = step;
    const whole = (p) => `${Math.round(100 * p)} %`;
    this.result.textContent =
      `It reads ${whole(point.before)} of the ${digit}s it never saw, ${whole(point.after)} once its bias is `
      + `set; of the other digits ${whole(point.others)}, then ${whole(point.othersAfter)}.`;
    if (step < about.lesson.steps) this.state.textContent = `Step ${step} of ${about.lesson.steps}`;
    this.added = added;
    this.sprite = null;
    this.draw();
    this.read();
  }

  /** Trained, or stopped: its bias may be moved now. */
  end() {
    if (this.ended) return;
    this.ended = true;
    if (!this.network) return void (this.state.textContent = "Stopped before its first step.");
    const done = this.step === about.lesson.steps;
    this.state.textContent = done ? `Trained: ${this.step} steps.` : `Stopped at step ${this.step}.`;
    const { digit } = this.settings;
    const { offset, offsets, isUnseen, logits, network } = this;
    this.student = {
      key: this.key, name: this.name, network, logits, labels: learning.lesson.testLabels, isUnseen,
      classes: [digit], offsets, chosen: offset === null ? null : [offset], best: null,
      range: [Math.min(0, Math.floor(offset ?? 0)), Math.max(6, Math.ceil(offset ?? 0) + 1)],
      unseen: `${digit}s`, likeUnseen: article(digit),
    };
    this.raise.disabled = offset === null;
    bias.offer(this.student);
  }

  fail(message) {
    this.state.textContent = `It could not be trained here (${message}).`;
  }

  draw() {
    const points = (key) => this.points.map((at) => [at.step, at[key]]);
    const { digit } = this.settings;
    drawChart(this.chart, {
      title: `Share of test digits read right, by step`,
      xLabel: "step of training",
      yLabel: "read right",
      xTicks: [0, 200, 400, 600, 800],
      share: true,
      ends: [0, about.lesson.steps],
      series: [
        { label: "others", colour: colourOf("--student"), points: points("others") },
        { label: `${digit}s, bias set`, colour: colourOf("--corrected"), points: points("after") },
        { label: `${digit}s`, colour: colourOf("--omitted"), points: points("before") },
      ],
    });
  }

  /** Its reading of the drawing or, on an empty canvas, of a test digit that it never saw. */
  read() {
    if (!this.network) return;
    const isEmpty = padIsEmpty();
    this.pixels = isEmpty ? this.example : pad.pixels;
    if (!this.pixels) return this.cards.forEach((card) => card.show(null));
    const what = isEmpty ? `a test ${this.settings.digit}, until you draw` : "your drawing";
    this.readsWhat.textContent = `What it makes of ${what}:`;
    this.reads.setAttribute("aria-label", what);
    paintPixels(this.reads, this.pixels, colourOf("--ink"));
    const logits = logitsOf(this.network, this.pixels);
    [this.zero, this.added].forEach((added, i) => this.cards[i].show(softmax(withOffsets(logits, added))));
    this.paintUnits();
  }

  /** The first layer's units as pictures of their weights, each as bright as it is excited. */
  paintUnits() {
    if (!this.box.querySelector("details").open || !this.pixels) return;
    const [layer] = this.network.layers;
    const n = layer.biases.length;
    const across = Math.ceil(Math.sqrt(n));
    const cell = SIDE + 4;
    const excited = activationsOf(this.network, this.pixels)[1];
    const most = Math.max(1e-6, ...excited);
    this.sprite ??= unitsSprite(layer.weights, n, across);
    Object.assign(this.units, { width: cell * across, height: cell * Math.ceil(n / across) });
    const context = this.units.getContext("2d");
    context.fillStyle = colourOf("--focus");
    excited.forEach((value, unit) => {
      const [x, y] = [cell * (unit % across), cell * Math.floor(unit / across)];
      context.globalAlpha = 0.75 * (value / most);
      context.fillRect(x, y, cell, cell);
      context.globalAlpha = 1;
      context.drawImage(this.sprite, SIDE * (unit % across), SIDE * Math.floor(unit / across), SIDE, SIDE,
        x + 2, y + 2, SIDE, SIDE);
    });
    const nLit = excited.filter((value) => value > 0).length;
    this.units.setAttribute("aria-label", `${nLit} of ${n} units are excited`);
    this.units.dataset.lit = nLit;
  }
}

/** Weights (n x 784) as pictures `across` in a row: ink's colour where positive, orange where negative. */
function unitsSprite(weights, n, across) {
  const sprite = element("canvas", { width: SIDE * across, height: SIDE * Math.ceil(n / across) });
  const one = element("canvas", { width: SIDE, height: SIDE });
  for (let unit = 0; unit < n; unit++) {
    const mine = weights.subarray(784 * unit, 784 * unit + 784);
    const most = mine.reduce((max, value) => Math.max(max, Math.abs(value)), 1e-9);
    paintChange(one, mine.map((value) => value / most));
    sprite.getContext("2d").drawImage(one, SIDE * (unit % across), SIDE * Math.floor(unit / across));
  }
  return sprite;
}

function startLearning() {
  const labels = arrays["lesson/labels"];
  const below = about.lesson.answerStep;
  learning.lesson = {
    images: arrays["lesson/images"],
    labels,
    logits: Float32Array.from(arrays["lesson/answers"], (n) => -n * below),
    test: arrays["tested/images"], testLabels: arrays["tested/labels"],
  };
  const tested = new Set(learning.lesson.testLabels);
  const isTaught = (c) => tested.has(c) && !about.lesson.teacherNeverSaw.includes(c);
  const digits = [...new Set(labels)].sort().filter(isTaught);
  if (digits.length < 2) return void (byId("learn").hidden = true);
  learning.seed = 1;
  const isOmitted = digits.includes(about.omitted[0]) && about.omitted.length < 10;
  const first = isOmitted ? about.omitted[0] : digits.at(3) ?? digits[0];
  const option = (value, text, selected) => element("option", { value, textContent: text, selected });
  byId("learn-digit").append(...digits.map((c) => option(c, c, c === first)));
  const sayValues = () => {
    const { digit, temperature, hardWeight } = learning.settings();
    const n = labels.filter((label) => label !== digit).length;
    const kept = byId("learn-images").value;
    const sizes = [300, 1000].filter((size) => size < n);
    byId("learn-images").replaceChildren(
      ...sizes.map((size) => option(size, count(size), false)),
      option(labels.length, `all ${count(n)}`, true),
    );
    if (sizes.map(String).includes(kept)) byId("learn-images").value = kept;
    byId("learn-t-value").textContent = `T = ${temperature}`;
    byId("learn-hard-value").textContent = { 0: "0, none", 1: "1, labels alone" }[hardWeight] ?? hardWeight;
    byId("learn-t").setAttribute("aria-valuetext", `T = ${temperature}`);
    byId("learn-link").href = `#${fragmentOf(learning.settings())}`;
  };
  /** Settings from the address, where it carries some that can be. */
  const fromAddress = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    const inRange = (name, lo, hi) => {
      const value = Number(asked.get(name));
      return asked.has(name) && value >= lo && value <= hi ? value : null;
    };
    const digit = inRange("digit", 0, 9);
    if (!digits.includes(digit)) return false;
    byId("learn-digit").value = digit;
    const given = {
      "learn-t": inRange("t", 1, 50),
      "learn-hard": inRange("hard", 0, 1),
      "learn-images": inRange("images", 1, 1e6),
    };
    Object.entries(given).forEach(([id, value]) => value !== null && (byId(id).value = value));
    if (byId("learn-images").value === "") byId("learn-images").value = labels.length;
    learning.seed = Math.floor(inRange("seed", 0, 1e9) ?? 1);
    sayValues();
    return true;
  };
  for (const id of ["learn-digit", "learn-t", "learn-hard", "learn-images"]) {
    byId(id).addEventListener("input", sayValues);
  }
  sayValues();
  const shows = () => fromAddress() && byId("learn").scrollIntoView({ block: "start" });
  addEventListener("hashchange", shows);
  shows();
  byId("learn-start").addEventListener("click", () => learning.train());
  byId("learn-stop").addEventListener("click", () => learning.stop());
  byId("learn-again").addEventListener("click", () => {
    learning.seed += 1;
    learning.train();
  });
  byId("learn-form").addEventListener("submit", (event) => event.preventDefault());
  learning.sayState();
  listeners.push(() => learning.runs.forEach((run) => run.read()));
  repainters.push(() => learning.runs.forEach((run) => {
    run.sprite = null;
    run.draw();
    run.read();
  }));
}
