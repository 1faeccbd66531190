"use strict";
/* The page: what is drawn, what the networks say of it, and the parts below that change both. */

const about = JSON.parse(byId("about").textContent);
const isUnseen = Array.from({ length: 10 }, (_, c) => about.omitted.includes(c));
const isMarked = isUnseen.map((unseen) => unseen && about.omitted.length < 10); // where it says something
const { words, correction } = about;

/** What is on the canvas: strokes over a digit or over nothing, and the pixels that result. */
const pad = {
  image: null,
  imageNumber: 0, // another for every digit that is put there
  from: "", // what to say of it
  isExample: false, // the first stroke of the pen replaces it
  strokes: [],
  erasing: false,
  width: 1, // of the brush, by MNIST's pen
  drawing: new Drawing(),
  pixels: new Float32Array(SIDE * SIDE),
};
/** The offsets of the student's ten biases now. */
const offsets = new Array(10).fill(0);
const padIsEmpty = () => pad.pixels.every((value) => value === 0);
const times = []; // milliseconds that each step of a stroke took
const listeners = []; // called when the canvas has changed
const repainters = []; // called when the theme or the width has changed
const recolourers = []; // called when the theme has changed, before these
const APART = 0.25; // pixels between two points of a stroke at least: more of them only cost time
let arrays;
let networks;

// ---- The canvas -----------------------------------------------------------------------------------------

/** Run the networks on what is on the canvas, and show everything that depends on it. */
function update() {
  const started = performance.now();
  const { drawing, image, strokes } = pad;
  pad.pixels = image ? drawing.edited(image, strokes) : drawing.normalised(strokes);
  paintPad();
  cards.show();
  byId("undo").disabled = pad.strokes.length === 0;
  byId("save").disabled = padIsEmpty();
  byId("invite").classList.toggle("gone", Boolean(pad.image) || pad.strokes.length > 0);
  byId("pad-caption").textContent = pad.strokes.length ? "" : pad.from;
  listeners.forEach((changed) => changed());
  times.push(performance.now() - started);
}

/** An image, or none, on the canvas, what to say of it, and strokes over it. */
function setPad(image, from, strokes = []) {
  Object.assign(pad, { image, from, strokes: [...strokes], isExample: false });
  pad.imageNumber += 1;
  keys.down = false;
  tiles?.choose(-1);
  update();
}

/** Put a digit on the canvas: 784 bytes, and what to say of it. */
function putOnPad(bytes, from) {
  keepDrawing();
  setPad(inked(bytes), from);
}

/** An empty canvas. */
function clearPad() {
  keepDrawing();
  setPad(null, `Draw ${words.a_digit} here`);
}

const shown = { key: "", strokes: [], n: [] }; // what the canvas shows already: points of each stroke

/** Paint the canvas, of a stroke that goes on only what is new, and the small view of what networks see. */
function paintPad() {
  const canvas = byId("pad");
  const side = Math.round(canvas.clientWidth * devicePixelRatio);
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const ink = colourOf("--ink");
  paintPixels(byId("small"), pad.pixels, ink);
  const at = (value) => (value * side) / SIDE;
  const key = [side, ink, pad.imageNumber, keys.shown && [keys.at, keys.down]].join();
  const { strokes } = pad;
  const goesOn = key === shown.key && !keys.shown && shown.strokes.every((one, i) => one === strokes[i])
    && shown.n.every((n, i) => n <= strokes[i].points.length);
  if (!goesOn) {
    shown.n = [];
    context.clearRect(0, 0, side, side);
    if (pad.image) {
      const digit = element("canvas", { width: SIDE, height: SIDE });
      paintPixels(digit, pad.image, ink);
      context.drawImage(digit, 0, 0, side, side);
    }
  }
  context.lineCap = context.lineJoin = "round";
  strokes.forEach(({ erase, points, width = 1 }, i) => {
    const from = Math.max(0, (shown.n[i] ?? 0) - 1);
    if (shown.n[i] === points.length) return;
    shown.n[i] = points.length;
    context.strokeStyle = ink;
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.lineWidth = at(2 * PEN * width * (erase ? ERASER : 1));
    context.beginPath();
    context.moveTo(at(points[from][0]), at(points[from][1]) + 0.01); // a point alone is a dot
    for (let k = from; k < points.length; k++) context.lineTo(at(points[k][0]), at(points[k][1]));
    context.stroke();
  });
  Object.assign(shown, { key, strokes: [...strokes] });
  context.globalCompositeOperation = "source-over";
  if (keys.shown) {
    context.strokeStyle = colourOf("--focus");
    context.lineWidth = (keys.down ? 4 : 2) * devicePixelRatio;
    context.beginPath();
    context.arc(at(keys.at[0]), at(keys.at[1]), at(PEN * ERASER), 0, 7);
    context.stroke();
  }
}

/** A stroke begins. On a digit that was put there as an example, or on nothing, it begins a drawing. */
function beginStroke(point) {
  if (pad.isExample && !pad.erasing) {
    pad.image = null;
    pad.imageNumber += 1;
    pad.from = `Draw ${words.a_digit} here`;
  }
  pad.isExample = false;
  pad.strokes.push({ erase: pad.erasing, width: pad.width, points: [point] });
}

/** A way of the pen for each digit, in pixels of the image, that draws itself on the empty canvas. */
const INVITING = [
  "M14 4C8 4 7 10 7 14S8 24 14 24 21 18 21 14 20 4 14 4",
  "M11 7 15 4V24",
  "M8 8C9 3 20 3 19 10 18 15 10 19 8 24H20",
  "M8 7C10 3 18 3 18 8 18 12 14 13 12 13 15 13 19 14 19 18.5 19 24 10 25 7 21",
  "M17 24V4L7 17H21",
  "M19 4H10L9 13C12 11 19 11 19 17.5 19 24 11 25 8 22",
  "M18 4C11 7 8 13 8 18 8 26 20 26 20 18.5 20 12 10 12 8.5 18",
  "M8 4H20L12 24",
  "M19 8C19 3 9 3 9 8 9 13 20 13 20 19 20 25.5 8 25.5 8 19 8 13 19 13 19 8",
  "M19.5 9C19 3 9 3 9 9.5 9 16 19 16 19.5 9L18 24",
];

const keys = { at: [SIDE / 2, 6], down: false, shown: false };

/** Draw with the keys: arrows move the pen, Space puts it down, E erases, U undoes, Delete clears. */
function drawByKey(event) {
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const letter = event.key.toLowerCase(); // whatever Caps Lock says
  const say = (text) => (byId("pad-status").textContent = text);
  if ((event.ctrlKey || event.metaKey) && letter === "z") {
    undo();
  } else if (event.ctrlKey || event.metaKey || event.altKey) {
    return; // the browser's own
  } else if (move) {
    const far = event.shiftKey ? 3 : 1;
    keys.at = keys.at.map((value, axis) => Math.min(SIDE, Math.max(0, value + far * move[axis])));
    if (keys.down) pad.strokes.at(-1).points.push(keys.at);
  } else if (event.key === " ") {
    keys.down = !keys.down;
    if (keys.down) beginStroke(keys.at);
    say(keys.down ? (pad.erasing ? "eraser down" : "pen down") : "pen up");
  } else if (letter === "e") {
    setErasing(!pad.erasing);
    say(pad.erasing ? "eraser" : "pen");
  } else if (letter === "u" || letter === "z" || letter === "backspace") {
    undo();
  } else if (event.key === "Delete") {
    clearPad();
  } else {
    return;
  }
  keys.shown = true;
  event.preventDefault();
  update();
}

function setErasing(erasing) {
  pad.erasing = erasing;
  keys.down = false;
  byId("pen").setAttribute("aria-pressed", String(!erasing));
  byId("eraser").setAttribute("aria-pressed", String(erasing));
}

function undo() {
  pad.strokes.pop();
  keys.down = false;
  update();
}

function startPad() {
  const canvas = byId("pad");
  let pointer = null;
  let waiting = false;
  const inside = (share) => SIDE * Math.min(1, Math.max(0, share)); // the pointer may leave the canvas
  const place = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    return [inside((clientX - box.left) / box.width), inside((clientY - box.top) / box.height)];
  };
  const goOn = (stroke, point) => {
    const [x, y] = stroke.points.at(-1);
    if (Math.hypot(point[0] - x, point[1] - y) >= APART) stroke.points.push(point);
  };
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      update();
    });
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer);
    keys.shown = keys.down = false;
    beginStroke(place(event));
    soon();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    if (event.buttons === 0) return end(event); // released where nothing was heard of it
    const all = event.getCoalescedEvents?.() ?? [];
    const stroke = pad.strokes.at(-1); // none any more if it was undone
    if (stroke) (all.length ? all : [event]).forEach((one) => goOn(stroke, place(one)));
    soon();
  });
  const end = (event) => {
    if (event.pointerId === pointer) pointer = null;
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("lostpointercapture", end);
  addEventListener("resize", () => (pointer = null)); // the same place is another point now
  canvas.addEventListener("keydown", drawByKey);
  canvas.addEventListener("blur", () => {
    keys.shown = keys.down = false;
    paintPad();
  });
  byId("pen").addEventListener("click", () => setErasing(false));
  byId("eraser").addEventListener("click", () => setErasing(true));
  byId("undo").addEventListener("click", undo);
  byId("brush").addEventListener("input", () => (pad.width = Number(byId("brush").value)));
  const invited = about.omitted.length < 10 ? about.omitted[0] : 3;
  byId("invite").firstElementChild.setAttribute("d", INVITING[invited]);
  byId("clear").addEventListener("click", clearPad);
  byId("another").addEventListener("click", nextExample);
  repainters.push(paintPad);
}

let example = 0;

/** Another test digit on the canvas, that the visitor's first stroke replaces. */
function nextExample() {
  const n = arrays.galleryNumbers.length;
  const i = Math.floor((0.381966 * ++example * n) % n); // hard and easy ones, in a fixed order
  showGalleryDigit(i, " · draw over it");
  pad.isExample = true;
}

const galleryBytes = (i) => arrays.gallery.subarray(784 * i, 784 * i + 784);
const galleryLabel = (i) => arrays.labels[arrays.galleryNumbers[i]];

function showGalleryDigit(i, more = "") {
  putOnPad(galleryBytes(i), `${article(galleryLabel(i))} of the test set${more}`);
  if (!more) tiles?.choose(i);
}

/** Back to the canvas and to what is said of it. */
function showPad() {
  document.querySelector(".easel").scrollIntoView({ block: "nearest" });
}

// ---- What the networks say ------------------------------------------------------------------------------

/** A card with what one network says: its class, how sure it is, ten bars. */
class ReadingCard {
  constructor(key, name, note, colour, marked) {
    this.bars = new Bars(marked);
    this.guess = element("b", { textContent: "–" });
    this.sure = element("span");
    this.card = element(
      "article", { className: "card", "data-network": key, style: { "--accent": colour } },
      element("h3", { textContent: name }),
      element("p", { className: "note", textContent: note }),
      element("p", { className: "guess" }, this.guess, this.sure),
      this.bars.list,
    );
  }

  /** Probabilities (10), or null for an empty canvas. */
  show(p) {
    const best = p ? largestOf(p) : "";
    this.bars.show(p);
    this.guess.textContent = p ? best : "–";
    this.sure.textContent = p ? percent(p[best]) : "";
    this.card.dataset.guess = best;
  }
}

const cards = {
  shown: [], // {name, network, reading: ReadingCard, brief, p}

  start() {
    for (const id of ["networks", "strip"]) byId(id).style.setProperty("--n", networks.length);
    about.networks.forEach(({ key, name, note, colour }, of) => {
      const reading = new ReadingCard(key, name, note, colour, isMarked);
      byId("networks").append(reading.card);
      const brief = element("b", { textContent: "–" }); // beside the canvas of a narrow screen
      const short = element("span", { textContent: name.replace(" student", "") });
      byId("strip").append(element("div", { style: { "--accent": colour } }, short, brief));
      this.shown.push({ name, network: networks[of], reading, brief });
    });
  },

  show() {
    const isEmpty = padIsEmpty();
    for (const one of this.shown) {
      one.p = softmax(logitsOf(one.network, pad.pixels));
      one.reading.show(isEmpty ? null : one.p);
      one.brief.textContent = isEmpty ? "–" : largestOf(one.p);
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.say(isEmpty), 700); // a screen reader hears it when the pen rests
  },

  say(isEmpty) {
    const all = this.shown.map(({ name, p }) => `${name}: ${largestOf(p)}, ${percent(p[largestOf(p)])}`);
    byId("said").textContent = isEmpty ? "The canvas is empty." : `${all.join(". ")}.`;
  },
};

// ---- The start, and what belongs to the whole page ------------------------------------------------------

async function start() {
  startTheme();
  arrays = arraysOf(await unpacked(byId("arrays").textContent), about.arrays);
  byId("arrays").remove(); // its text is not needed twice
  networks = networksOf(arrays, about.networks);
  cards.start();
  startPad();
  startKeeping();
  clearPad();
  startBias();
  startTemperature();
  startGallery();
  startEpochs();
  startLearning();
  startWalk();
  startTour();
  sayTrust();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) repainters.forEach((repaint) => repaint());
    width = innerWidth;
  });
  // for who opens the console
  window.explorer = { about, pad, offsets, times, networks, arrays, bias, learning, drawn };
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => {
  byId("failed").hidden = false;
  byId("failed").textContent =
    `This page could not start (${error.message}). It needs a browser of 2023 or later.`;
  throw error;
});
