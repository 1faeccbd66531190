"use strict";
/* The bias: what one number per class does to a student's errors, to its reading, to the gallery. */

/** Guesses of the page's student on all test images, as trained and at its offsets of now (see errorsOf). */
const fates = { trained: null, now: null };

/**
 * Whose bias is moved. Students: {key, name, network, logits, labels, isUnseen, classes, offsets, chosen,
 * best, range}.
 */
const bias = {
  students: [],
  student: null,
  sliders: new Map(),
  ofCurve: 0, // the class that the curve is about
  curve: { points: [], of: "" },

  /** One more student to choose from, or a newer one in its place. */
  offer(student) {
    const at = this.students.findIndex(({ key }) => key === student.key);
    if (at < 0) this.students.unshift(student);
    else this.students[at] = student;
    this.choose(student);
  },

  withdraw(key) {
    this.students = this.students.filter((one) => one.key !== key);
    this.choose(this.students.includes(this.student) ? this.student : this.students[0]);
  },

  choose(student) {
    this.student = student;
    this.ofCurve = student.classes.find((c) => student.isUnseen[c]) ?? student.classes[0];
    this.trained = errorsOf(student.logits, student.labels, new Array(10).fill(0), student.isUnseen);
    byId("bias-students").replaceChildren(...this.students.map((one) => {
      const pressed = { "aria-pressed": String(one === student), "data-student": one.key };
      const button = element("button", { type: "button", textContent: one.name, ...pressed });
      button.addEventListener("click", () => this.choose(one));
      return button;
    }));
    byId("bias-students").hidden = this.students.length < 2;
    this.makeSliders();
    byId("offset-best").hidden = !student.best;
    const alone = student.classes.length === 1;
    const entries = [];
    if (student.chosen) {
      const mine = alone ? `, ${signed(student.chosen[0])}` : "";
      entries.push(legend("var(--corrected)", `chosen without test labels${mine}`, "triangle"));
    }
    if (student.best) {
      const all = alone ? "" : " for all unseen";
      const what = `fewest errors on the test set, ${signed(student.best.offset)}${all}`;
      entries.push(legend("var(--soft)", what, "diamond"));
    }
    byId("error-legend").replaceChildren(...entries);
    this.sayHowMuch();
    this.show();
  },

  /** What the chosen offsets do, in a sentence. */
  sayHowMuch() {
    const { name, logits, labels, isUnseen, classes, chosen } = this.student;
    byId("offset-chosen").hidden = !chosen;
    if (!chosen) return (byId("bias-summary").textContent = "");
    const added = new Array(10).fill(0);
    classes.forEach((c, i) => (added[c] = chosen[i]));
    const after = errorsOf(logits, labels, added, isUnseen);
    const before = this.trained;
    const changes = (part, least) =>
      Math.abs(after[part] - before[part]) > Math.max(least, 0.1 * before[part]);
    const hardly = !changes("all", 10) && !changes("unseen", 3);
    byId("bias-summary").textContent =
      `${name}${hardly ? " hardly needs it" : ""}: ${count(before.all)} → ${count(after.all)} errors on `
      + `${count(labels.length)} test images, ${count(before.unseen)} → ${count(after.unseen)} of them on `
      + `${this.student.unseen || "what it never saw"}, at what is chosen without their labels.`;
  },

  makeSliders() {
    const { classes, range: [lo, hi], offsets } = this.student;
    byId("offsets").replaceChildren();
    this.sliders.clear();
    for (const c of classes) {
      const id = `offset-${c}`;
      const output = element("output", { htmlFor: id });
      const input = element("input", { type: "range", id, min: lo, max: hi, step: "any" });
      const move = (value) => {
        stopAnimations();
        offsets[c] = Math.min(hi, Math.max(lo, Math.round(100 * value) / 100));
        this.ofCurve = c;
        this.show();
      };
      input.addEventListener("input", () => move(Number(input.value)));
      input.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -0.05, ArrowDown: -0.05, ArrowRight: 0.05, ArrowUp: 0.05 }[event.key];
        if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        move(offsets[c] + step);
      });
      this.sliders.set(c, { input, output });
      const name = `Offset of the bias of ${c} `;
      byId("offsets").append(element("label", { className: "slider", htmlFor: id }, name, output), input);
    }
  },

  show() {
    const { logits, labels, isUnseen, offsets, isOfPage } = this.student;
    for (const [c, { input, output }] of this.sliders) {
      input.value = offsets[c];
      input.setAttribute("aria-valuetext", signed(offsets[c]));
      output.textContent = signed(offsets[c]);
    }
    this.now = errorsOf(logits, labels, offsets, isUnseen);
    this.showErrors();
    this.read();
    this.draw();
    if (!isOfPage) return;
    fates.now = this.now;
    showFates();
  },

  /** The table: as trained, and at the offsets of now. */
  showErrors() {
    const { labels, isUnseen, unseen, likeUnseen } = this.student;
    const [before, after] = [this.trained, this.now];
    const nUnseen = labels.reduce((sum, label) => sum + isUnseen[label], 0);
    const rows = [[`all ${count(labels.length)} test images`, "all"]];
    if (unseen) {
      rows.push([`the ${count(nUnseen)} ${unseen}`, "unseen"]);
      rows.push([`other digits taken for ${likeUnseen}`, "mistaken"]);
    }
    const cell = (text) => element("td", { textContent: text });
    const head = ["", "as trained", "with the offset"].map((text) =>
      element("th", { textContent: text, scope: "col" }));
    byId("errors-table").replaceChildren(
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...rows.map(([name, key]) => element(
        "tr", { "data-of": key }, element("th", { textContent: name, scope: "row" }),
        cell(count(before[key])), cell(`→ ${count(after[key])}`),
      ))),
    );
    Object.assign(byId("errors").dataset, { all: after.all, unseen: after.unseen, mistaken: after.mistaken });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const onUnseen = unseen ? `, on ${unseen} ${before.unseen} to ${after.unseen}` : "";
      byId("errors").textContent = `Errors ${before.all} to ${after.all}${onUnseen}.`;
    }, 500); // a screen reader hears it when the slider rests
  },

  /** What this student says of the canvas, as trained and with the offsets. */
  read() {
    if (!this.student) return;
    const isEmpty = padIsEmpty();
    const logits = logitsOf(this.student.network, pad.pixels);
    const both = [logits, withOffsets(logits, this.student.offsets)];
    this.cards.forEach((card, i) => card.show(isEmpty ? null : softmax(both[i])));
  },

  draw() {
    const { logits, labels, isUnseen, offsets, classes, chosen, best, unseen } = this.student;
    const [lo, hi] = this.student.range;
    const c = this.ofCurve;
    const grid = Array.from({ length: 40 * (hi - lo) + 1 }, (_, i) => lo + i / 40);
    const of = `${this.student.key} ${c}: ${offsets.filter((_, other) => other !== c)}`;
    if (of !== this.curve.of) {
      this.curve = { of, points: errorCurve(logits, labels, offsets, isUnseen, c, grid) };
    }
    const points = (key) => this.curve.points.map((at) => [at.offset, at[key]]);
    const green = colourOf("--corrected");
    const series = [{ label: "all", colour: green, points: points("all") }];
    if (unseen) {
      const label = classes.length === 1 ? `on ${unseen}` : "unseen";
      series.push({ label, colour: colourOf("--omitted"), points: points("unseen") });
    }
    const marks = chosen ? [{ x: chosen[classes.indexOf(c)], colour: green, shape: "triangle" }] : [];
    if (best && isUnseen[c]) marks.push({ x: best.offset, colour: colourOf("--soft"), shape: "diamond" });
    drawChart(byId("error-chart"), {
      title: `Test errors by the offset of class ${c}`,
      xLabel: `offset of the bias of ${c}`,
      yLabel: "test errors",
      xTicks: ticks(lo, hi, 10),
      cursor: offsets[c],
      series,
      marks,
    });
  },

  set(values) {
    stopAnimations();
    this.student.classes.forEach((c, i) => (this.student.offsets[c] = values[i]));
    this.show();
  },

  /** From 0 to the offsets chosen, in sight; at once where motion is not wanted. */
  raise() {
    const { student } = this;
    if (!student.chosen) return;
    this.set(student.classes.map(() => 0));
    animate(2500, (share) => {
      student.classes.forEach((c, i) => (student.offsets[c] = share * student.chosen[i]));
      this.show();
    });
  },
};

/** Calls `show` with shares from 0 to 1 over some milliseconds; with 1 at once where motion is not wanted. */
function animate(milliseconds, show) {
  stopAnimations();
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return show(1);
  const turn = animate.turn;
  const started = performance.now();
  const next = (now) => {
    if (turn !== animate.turn) return;
    const share = Math.min(1, Math.max(0, (now - started) / milliseconds));
    show(share * share * (3 - 2 * share));
    if (share < 1) requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}
animate.turn = 0;
function stopAnimations() {
  animate.turn += 1;
}

function startBias() {
  const kinds = [
    ["as trained", "var(--student)", "before"],
    ["with the offset", "var(--corrected)", "corrected"],
  ];
  bias.cards = kinds.map(
    ([name, colour, key]) => {
      const card = new ReadingCard(key, name, "", colour, isMarked);
      byId("bias-cards").append(card.card);
      return card;
    },
  );
  const { classes, best, range } = correction;
  fates.trained = errorsOf(arrays.logits, arrays.labels, new Array(10).fill(0), isUnseen);
  fates.now = fates.trained;
  const alone = about.omitted.length === 1;
  bias.offer({
    key: "page",
    isOfPage: true,
    name: `The ${about.networks[1].name.toLowerCase()} of recipe ${about.recipe}`,
    network: networks[1], logits: arrays.logits, labels: arrays.labels, isUnseen, classes, offsets,
    chosen: correction.offsets, best, range, unseen: words.unseen,
    likeUnseen: alone ? article(about.omitted[0]) : "one never seen",
  });
  byId("offset-none").addEventListener("click", () => bias.set(bias.student.classes.map(() => 0)));
  byId("offset-chosen").addEventListener("click", () => bias.set(bias.student.chosen));
  byId("offset-raise").addEventListener("click", () => bias.raise());
  byId("offset-best").addEventListener("click", () => {
    const { student } = bias;
    bias.set(student.classes.map((c) => (student.isUnseen[c] ? student.best.offset : 0)));
  });
  repainters.push(() => bias.draw());
  listeners.push(() => bias.read());
}
