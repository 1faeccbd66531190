"use strict";
/* What the visitor has drawn before, and the drawing with what is said of it as a picture to keep. */

const drawn = { drawings: [], most: 12 };

/** Remember what is on the canvas, if the visitor has drawn on it, before it goes. */
function keepDrawing() {
  if (!pad.strokes.length || padIsEmpty()) return;
  const { image, from, strokes, pixels } = pad;
  if (drawn.drawings.some((one) => one.strokes.at(-1) === strokes.at(-1))) return; // it is there already
  drawn.drawings.unshift({ image, from, strokes, pixels, said: cards.shown.map(({ p }) => largestOf(p)) });
  drawn.drawings.length = Math.min(drawn.drawings.length, drawn.most);
  showHistory();
}

function showHistory() {
  byId("history").hidden = !drawn.drawings.length;
  byId("history-list").replaceChildren(...drawn.drawings.map((one, i) => {
    const canvas = element("canvas", { width: SIDE, height: SIDE });
    paintPixels(canvas, one.pixels, colourOf("--ink"));
    const named = cards.shown.map(({ name }, at) => `${name} ${one.said[at]}`).join(", ");
    const label = `Drawing ${drawn.drawings.length - i}: ${named}`;
    const set = { type: "button", className: "kept", "aria-label": label, title: named };
    const button = element("button", set, canvas);
    button.addEventListener("click", () => {
      keepDrawing();
      setPad(one.image, one.from, one.strokes);
    });
    return button;
  }));
}

/** The drawing, the pixels that the networks get and what each of them says, as one picture. */
function pictureOf() {
  const [side, line] = [336, 28];
  const canvas = element("canvas", { width: 2.4 * side, height: side + 2 * line });
  const context = canvas.getContext("2d");
  const [paper, ink] = [colourOf("--panel"), colourOf("--ink")];
  context.fillStyle = paper;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(byId("pad"), line, line, side, side);
  context.imageSmoothingEnabled = false;
  context.drawImage(byId("small"), side + 2 * line, line, 112, 112);
  cards.shown.forEach(({ name, p }, i) => {
    const y = line + 112 + 44 * (i + 1);
    context.fillStyle = about.networks[i].colour;
    context.fillRect(side + 2 * line, y - 26, 8, 34);
    context.fillStyle = ink;
    context.font = "bold 26px system-ui, sans-serif";
    context.fillText(String(largestOf(p)), side + 2 * line + 18, y);
    context.font = "17px system-ui, sans-serif";
    context.fillText(`${percent(p[largestOf(p)])}  ${name}`, side + 2 * line + 44, y - 2);
  });
  return canvas;
}

function startKeeping() {
  byId("save").addEventListener("click", () => {
    pictureOf().toBlob((png) => {
      const link = element("a", { href: URL.createObjectURL(png), download: "drawing.png" });
      link.click();
      URL.revokeObjectURL(link.href);
    });
  });
  recolourers.push(showHistory);
}
