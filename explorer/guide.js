"use strict";
/* What belongs to the whole page: light and dark, the tour, and what is said of the numbers. */

function startTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // a page without storage forgets the choice
  }
  const show = () => {
    document.documentElement.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
    [...recolourers, ...repainters].forEach((repaint) => repaint());
  };
  byId("theme").addEventListener("click", () => {
    chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("theme", chosen);
    } catch {
      // as above
    }
    show();
  });
  dark.addEventListener("change", show);
  show();
}

function startTour() {
  let [steps, at] = [[], 0];
  const mark = (part) => {
    document.querySelectorAll(".toured").forEach((one) => one.classList.remove("toured"));
    if (part) byId(part).classList.add("toured");
  };
  const show = (step) => {
    at = step;
    byId("tour").hidden = false;
    byId("tour-text").textContent = `${at + 1} of ${steps.length}. ${steps[at].textContent}`;
    byId("tour-back").disabled = at === 0;
    byId("tour-next").textContent = at + 1 < steps.length ? "Next" : "Done";
    byId(steps[at].dataset.part).prepend(byId("tour")); // where it covers nothing
    mark(steps[at].dataset.part);
    if (steps[at].dataset.part === "temperature") setTemperature(1); // where the step begins
    byId(steps[at].dataset.part).scrollIntoView({ block: "start" });
  };
  const end = () => {
    byId("tour").hidden = true;
    mark(null);
    byId("tour-start").focus({ preventScroll: true });
  };
  byId("tour-start").addEventListener("click", () => {
    steps = [...byId("tour-steps").children].filter((step) => !byId(step.dataset.part).hidden);
    show(0);
    byId("tour-next").focus({ preventScroll: true });
  });
  const go = (step, button) => {
    show(step);
    (byId(button).disabled ? byId("tour-next") : byId(button)).focus({ preventScroll: true });
  };
  byId("tour-back").addEventListener("click", () => go(at - 1, "tour-back"));
  byId("tour-next").addEventListener("click", () =>
    at + 1 < steps.length ? go(at + 1, "tour-next") : end());
  byId("tour-end").addEventListener("click", end);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !byId("tour").hidden) end();
  });
}

function sayTrust() {
  const n = count(about.test.n);
  const said = about.networks.map(({ name, agreement }) => {
    const others = agreement.n_other_class;
    const same = others ? `another class of ${count(others)} of ${n}` : `the same class of all ${n}`;
    return `the ${name.toLowerCase()} says ${same} test images (no probability moves by more than ${
      percent(agreement.largest_difference)})`;
  });
  byId("trust").textContent =
    `Rounded weights say what the trained ones say: ${said.join("; ")}. All counts of errors are of the `
    + "networks as they were trained; the bars are computed here, from the rounded weights.";
}
