"use strict";
/* The parts below the canvas that stand still, each a function that starts it. */

// ---- The temperature ------------------------------------------------------------------------------------

/** Bytes of `n` training images of a row, from its image `at` on. */
function trainingBytes(row, at, n = 1) {
  const first = about.training.slice(0, row).reduce((sum, one) => sum + one.images, 0) + at;
  return arrays.training.subarray(784 * first, 784 * (first + n));
}

let setTemperature;

function startTemperature() {
  const [lo, hi] = about.temperatures;
  const slider = byId("t");
  const [bars, teacher] = [new Bars(isMarked, { relative: true }), about.networks[0]];
  const rows = [];
  let chosen = { row: 0, at: 0 };
  let t = Math.min(hi, Math.max(lo, about.temperature));
  Object.assign(slider, { min: lo, max: hi, value: t });
  byId("answer-bars").append(bars.list);
  byId("answer-bars").style.setProperty("--accent", teacher.colour);

  const show = () => {
    const pixels = inked(trainingBytes(chosen.row, chosen.at));
    const p = softmax(logitsOf(networks[0], pixels), t);
    const one = about.training[chosen.row];
    bars.show(p);
    paintPixels(byId("answer-image"), pixels, colourOf("--ink"));
    byId("t-value").textContent = `T = ${t}`;
    slider.setAttribute("aria-valuetext", `T = ${t}`);
    // of the classes worth a word, the unseen ones or all, the one that it is most like beside its own
    const said = one.kind === "unseen"
      ? one.class
      : largestOf(p.map((value, c) => (c !== one.class && isUnseen[c] ? value : -1)));
    const name = words.likeness ? `this ${one.class}` : `this image, like ${article(one.class)} most of all,`;
    byId("answer").textContent =
      `To the teacher, ${name} is ${percent(p[said])} ${article(said)} at T = ${t}.`
      + (one.kind === "unseen" ? " The student was never given it." : "");
    byId("answer").dataset.p = p[said];
  };
  byId("training").style.setProperty("--split", `${about.nLike}fr ${14 - about.nLike}fr`);
  const like = words.likeness ? `most ${words.likeness}` : "most like it";
  const heads = [`${like} to the teacher`, "typical"].map((textContent) => element("span", { textContent }));
  const over = element("div", {}, ...heads);
  const head = element("div", { className: "heads", "aria-hidden": "true" }, element("span"), over);
  byId("training").append(head);
  about.training.forEach((one, row) => {
    const never = one.kind === "unseen";
    const box = element("div", { className: "tiles" });
    const name = element("span", { textContent: never ? `${one.class}s, never shown` : `${one.class}s` });
    byId("training").append(element("div", { className: `row${never ? " never" : ""}` }, name, box));
    const images = trainingBytes(row, 0, one.images);
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
  setTemperature = (value) => {
    t = value;
    slider.value = t;
    show();
  };
  slider.addEventListener("input", () => setTemperature(Math.round(2 * Number(slider.value)) / 2));
  slider.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.5, ArrowDown: -0.5, ArrowRight: 0.5, ArrowUp: 0.5 }[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    setTemperature(Math.min(hi, Math.max(lo, t + step)));
  });
  recolourers.push(() => {
    rows.forEach((tiles) => tiles.paint());
    show();
  });
  const n = about.labelledOtherwise;
  if (n) {
    byId("labelled").textContent =
      `${count(n)} of the images that the student saw ${n === 1 ? "is" : "are"}, to the teacher, `
      + `${n === 1 ? words.a_digit : words.digits} with another label: that every ${words.every} was removed `
      + "holds for labels.";
  }
  // an image that nobody doubts: the teacher's own answer is its label, clearly
  const row = Math.max(0, about.training.findIndex((one) => one.class === 5 && one.kind === "seen"));
  const sure = Array.from({ length: about.training[row].images }, (_, at) =>
    softmax(logitsOf(networks[0], inked(trainingBytes(row, at))))[about.training[row].class]);
  choose({ row, at: Math.max(0, sure.findIndex((p) => p > 0.95)) });
}

// ---- All test digits ------------------------------------------------------------------------------------

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
  const stop = shown.find((tile) => tile.tabIndex === 0) ?? shown[0]; // one tab stop for all
  tiles?.tiles.forEach((tile) => {
    if ((tile.tabIndex === 0) !== (tile === stop)) tile.tabIndex = tile === stop ? 0 : -1;
  });
}

function startGallery() {
  const n = arrays.galleryNumbers.length;
  byId("gallery-scope").textContent = n < about.test.nUnseen
    ? `${count(n)} of ${count(about.test.nUnseen)}, as many of each class.`
    : `${count(n)} of them.`;
  for (const [fate, name] of Object.entries({ all: "all", ...FATES })) {
    const swatch = element("span", { className: `swatch status-${fate}`, "aria-hidden": "true" });
    const parts = fate === "all" ? [name, ""] : [swatch, name, ""];
    const button = element("button", { type: "button", "data-fate": fate }, ...parts);
    button.addEventListener("click", () => {
      filter = fate;
      showFates();
    });
    byId("filters").append(button);
  }
  tiles = new Tiles(byId("tiles"), arrays.gallery, `Test ${words.digits}`, (i) => {
    showGalleryDigit(i);
    showPad();
  });
  recolourers.push(() => tiles.paint());
  bias.show();
}
