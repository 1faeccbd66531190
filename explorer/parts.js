"use strict";
/* Pieces of the page that know nothing of the experiment: bars, tiles, a chart, numbers in words. */

const byId = (id) => document.getElementById(id);
const percent = (p) => `${(100 * p).toFixed(1)} %`;
const count = (n) => n.toLocaleString("en");
const signed = (x) => (x <= -0.005 ? "−" : "+") + Math.abs(x).toFixed(2);
const article = (digit) => (Number(digit) === 8 ? `an ${digit}` : `a ${digit}`);
/** Pixels from 0 to 1 of bytes. */
const inked = (bytes) => Float32Array.from(bytes, (value) => value / 255);
const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A new element: `properties` are set on it, but those with a hyphen and `role` are attributes. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") Object.entries(value).forEach(([key, one]) => made.style.setProperty(key, one));
    else if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** Red, green, blue of a colour written as #rrggbb. */
const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

/** Paint `pixels` (784, 0 to 1) in a colour on nothing into a 28 x 28 canvas. */
function paintPixels(canvas, pixels, colour) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  const rgb = channels(colour);
  for (let i = 0; i < pixels.length; i++) image.data.set([...rgb, Math.round(255 * pixels[i])], 4 * i);
  context.putImageData(image, 0, 0);
}

/** A canvas with `images` (n x 784 bytes) side by side, `columns` in a row, in a colour on nothing. */
function spriteOf(images, columns, colour) {
  const n = images.length / (SIDE * SIDE);
  const width = SIDE * columns;
  const canvas = element("canvas", { width, height: SIDE * Math.ceil(n / columns) });
  const context = canvas.getContext("2d");
  const whole = context.createImageData(canvas.width, canvas.height);
  const rgb = channels(colour);
  for (let i = 0; i < images.length; i++) {
    const [image, pixel] = [Math.floor(i / (SIDE * SIDE)), i % (SIDE * SIDE)];
    const x = SIDE * (image % columns) + (pixel % SIDE);
    const y = SIDE * Math.floor(image / columns) + Math.floor(pixel / SIDE);
    const at = 4 * (y * width + x);
    [whole.data[at], whole.data[at + 1], whole.data[at + 2]] = rgb;
    whole.data[at + 3] = images[i];
  }
  context.putImageData(whole, 0, 0);
  return canvas;
}

/** Ten bars with their numbers. `relative`: the longest fills the width. */
class Bars {
  constructor(unseen, { relative = false } = {}) {
    this.relative = relative;
    this.rows = Array.from({ length: 10 }, (_, c) => {
      const bar = element("div", { className: "bar" });
      const number = element("span", { className: "p" });
      const digit = element("span", { className: "digit", textContent: String(c) });
      const track = element("div", { className: "track" }, bar);
      const row = element("li", { className: unseen[c] ? "unseen" : "" }, digit, track, number);
      if (unseen[c]) digit.title = "never seen by the student";
      return { row, bar, number };
    });
    this.list = element("ul", { className: "bars" }, ...this.rows.map(({ row }) => row));
  }

  /** Ten probabilities, or null: nothing to say. */
  show(p) {
    const best = p ? largestOf(p) : -1;
    const longest = this.relative ? p[best] : 1;
    this.rows.forEach(({ row, bar, number }, c) => {
      bar.style.transform = `scaleX(${p ? p[c] / longest : 0})`;
      number.textContent = p ? percent(p[c]) : "";
      row.dataset.p = p ? p[c] : "";
      row.classList.toggle("most", c === best);
    });
  }
}

/** A group of buttons with digits on them, one tab stop; arrow keys move between them. */
class Tiles {
  /** `images` (n x 784) bytes; `onPick(i)` hears which one was chosen. */
  constructor(box, images, label, onPick) {
    this.box = box;
    this.images = images;
    this.n = images.length / (SIDE * SIDE);
    this.columns = Math.min(32, this.n);
    const rows = Math.ceil(this.n / this.columns);
    const place = (at, of) => (of > 1 ? `${(100 * at) / (of - 1)}%` : "0%");
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", label);
    this.tiles = Array.from({ length: this.n }, (_, i) =>
      element("button", {
        type: "button",
        className: "tile",
        tabIndex: i ? -1 : 0,
        style: {
          "background-size": `${100 * this.columns}% ${100 * rows}%`,
          "background-position":
            `${place(i % this.columns, this.columns)} ${place(Math.floor(i / this.columns), rows)}`,
        },
      }),
    );
    box.append(...this.tiles);
    box.addEventListener("click", (event) => {
      const i = this.tiles.indexOf(event.target.closest(".tile"));
      if (i < 0) return;
      this.focus(i);
      onPick(i);
    });
    box.addEventListener("keydown", (event) => this.move(event));
    this.paint();
  }

  /** Draw all images in the colour of the ink of now. */
  paint() {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    spriteOf(this.images, this.columns, colourOf("--ink")).toBlob(async (png) => {
      const image = new Image();
      image.src = URL.createObjectURL(png); // a short address: every tile's style repeats it
      await image.decode(); // until then the old one stays
      if (turn !== this.turn) return URL.revokeObjectURL(image.src); // a newer one is on its way
      this.box.style.setProperty("--sprite", `url(${image.src})`);
      URL.revokeObjectURL(this.sprite?.src);
      this.sprite = image;
    });
  }

  focus(i) {
    this.tiles.forEach((tile) => (tile.tabIndex = -1));
    this.tiles[i].tabIndex = 0;
    this.tiles[i].focus({ preventScroll: true });
    this.tiles[i].scrollIntoView({ block: "nearest" });
  }

  move(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const shown = this.tiles.filter((tile) => !tile.hidden);
    const at = shown.indexOf(document.activeElement);
    if (at < 0) return;
    const below = shown.findIndex((tile) => tile.offsetTop > shown[0].offsetTop);
    const width = below < 0 ? shown.length : below;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width };
    const ends = { Home: 0, End: shown.length - 1 };
    const to = event.key in ends ? ends[event.key] : at + steps[event.key];
    if (Number.isNaN(to)) return;
    event.preventDefault();
    if (to >= 0 && to < shown.length) this.focus(this.tiles.indexOf(shown[to]));
  }

  /** Mark the chosen one, or none. */
  choose(i) {
    this.tiles.forEach((tile, at) => tile.setAttribute("aria-pressed", String(at === i)));
  }
}

/** An SVG element. */
function svg(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.textContent = text;
  return made;
}

/**
 * Curves over a logarithmic axis of errors, or over one of shares from 0 to 1. `series`: [{label, colour,
 * points: [[x, y], ...]}], `marks`: [{x, colour, shape}], `cursor`: x of now, `ends`: of the x axis, else of
 * the first series. Zero errors are drawn as half a one.
 */
function drawChart(box, parts) {
  const { title, xLabel, yLabel, xTicks, series, marks = [], cursor, share = false, ends: across } = parts;
  const em = parseFloat(getComputedStyle(box).fontSize);
  const [width, height] = [Math.max(220, box.clientWidth), 16 * em];
  const [left, right, top, bottom] = [3.2 * em, width - (share ? 5.6 : 4.2) * em, 2.6 * em, height - 3 * em];
  const xs = series[0].points.map(([x]) => x);
  const [x0, x1] = across ?? [xs[0], Math.max(xs.at(-1), xs[0] + 1e-9)];
  const values = series.flatMap(({ points }) => points.map(([, y]) => Math.max(0.5, y)));
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const [y0, y1] = [Math.log10(Math.min(0.8 * least, most / 4)), Math.log10(1.2 * most)];
  const atX = (x) => left + ((x - x0) / (x1 - x0)) * (right - left);
  const height01 = (y) => (share ? y : (Math.log10(Math.max(0.5, y)) - y0) / (y1 - y0));
  const atY = (y) => bottom - height01(y) * (bottom - top);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  const ofErrors = [1, 10, 100, 1000, 10000].flatMap((power) => [power, 2 * power, 5 * power])
    .filter((y) => Math.log10(y) >= y0 && Math.log10(y) <= y1);
  for (const y of share ? [0, 0.25, 0.5, 0.75, 1] : ofErrors) {
    drawing.append(svg("line", { class: "grid", x1: left, x2: right, y1: atY(y), y2: atY(y) }));
    const text = { x: left - 0.5 * em, y: atY(y) + 0.3 * em, "text-anchor": "end" };
    drawing.append(svg("text", text, share ? `${100 * y} %` : count(y)));
  }
  for (const x of xTicks) {
    const text = { x: atX(x), y: bottom + 1.2 * em, "text-anchor": "middle" };
    drawing.append(svg("text", text, x < 0 ? `−${-x}` : String(x)));
  }
  drawing.append(svg("text", { x: 0, y: 0.8 * em }, yLabel));
  const name = { x: (left + right) / 2, y: bottom + 2.5 * em, "text-anchor": "middle" };
  drawing.append(svg("text", name, xLabel));
  for (const { x, colour, shape } of marks) {
    const [cx, s] = [atX(x), 0.5 * em];
    drawing.append(svg("line", { x1: cx, x2: cx, y1: top, y2: bottom, stroke: colour, "stroke-width": 1.5 }));
    const outline = shape === "triangle"
      ? `${cx - s},${top - s} ${cx + s},${top - s} ${cx},${top + s / 2}`
      : `${cx},${top - s} ${cx + s},${top} ${cx},${top + s} ${cx - s},${top}`;
    drawing.append(svg("polygon", { points: outline, fill: colour }));
  }
  const ends = [];
  for (const { label, colour, points } of series) {
    const d = points.map(([x, y], i) => `${i ? "L" : "M"}${atX(x).toFixed(1)} ${atY(y).toFixed(1)}`).join("");
    drawing.append(svg("path", { d, stroke: colour }));
    let y = atY(points.at(-1)[1]);
    const isTaken = (other) => Math.abs(other - y) < 1.09 * em;
    while (ends.some(isTaken)) y = ends.find(isTaken) + (share || y >= ends.find(isTaken) ? 1.1 : -1.1) * em;
    ends.push(y);
    drawing.append(svg("text", { class: "series", x: right + 0.4 * em, y: y + 0.3 * em }, label));
  }
  if (cursor !== undefined) {
    const cx = atX(cursor);
    drawing.append(svg("line", { class: "cursor", x1: cx, x2: cx, y1: top, y2: bottom }));
  }
  box.replaceChildren(drawing);
}

/** A legend's entry: a swatch and words. */
function legend(colour, words, shape = "") {
  return element(
    "span", {},
    element("span", { className: `swatch ${shape}`, style: { "--accent": colour }, "aria-hidden": "true" }),
    words,
  );
}

/** Whole numbers from lo to hi, no more than about `most` of them. */
function ticks(lo, hi, most) {
  const apart = Math.max(1, Math.ceil((hi - lo) / most));
  const found = [];
  for (let x = Math.ceil(lo / apart) * apart; x <= hi; x += apart) found.push(x);
  return found;
}

/** Call `step` repeatedly until it gives false or the button is pressed again. */
function playButton(button, step, milliseconds) {
  let timer = 0;
  const stop = () => {
    clearTimeout(timer);
    timer = 0;
    button.setAttribute("aria-pressed", "false");
    button.textContent = "Play";
  };
  const next = () => {
    if (step()) timer = setTimeout(next, milliseconds);
    else stop();
  };
  button.addEventListener("click", () => {
    if (timer) return stop();
    button.setAttribute("aria-pressed", "true");
    button.textContent = "Pause";
    timer = setTimeout(next, 0);
  });
  return stop;
}
