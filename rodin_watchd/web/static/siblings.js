// The results of one set side by side: each as a model when somebody asks for it, and all that are shown turn together.
// Without this script the page has the pictures.

import { atHome, follow, glbOf, goHome, has3D, shown, view } from "./model.js";

const grid = document.getElementById("siblings");
const front = document.querySelector("[data-home]");
const models = []; // the elements that are shown
let leader = null; // the one that a person turns: the others follow

function join(one) {
  for (const kind of ["pointerdown", "wheel", "keydown", "focusin"]) {
    one.addEventListener(kind, () => { leader = one; }, { capture: true, passive: true });
  }
  one.addEventListener("camera-change", () => {
    if (leader === one) for (const other of models) if (other !== one) follow(one, other);
  });
}

async function show(stage) {
  const button = stage.querySelector("[data-show]");
  const picture = stage.querySelector("img");
  const { model, label, beside } = stage.dataset;
  button.disabled = true;
  stage.setAttribute("aria-busy", true);
  let made = null;
  try {
    await import("./vendor/model-viewer.min.js");
    made = view(await glbOf(model, { beside, converting: stage.querySelector("[data-converting]") }), label, grid.dataset.views);
    picture.slot = "poster";
    made.append(picture);
    stage.prepend(made);
    await shown(made);
    await goHome([made]);
    atHome(made);
    join(made);
    if (models.length) follow(models[0], made);
    models.push(made);
    front.hidden = false;
    const had = document.activeElement === button || document.activeElement === document.body; // a disabled button lets go
    button.remove();
    if (had) made.shadowRoot.querySelector("[tabindex='0']")?.focus(); // the next key turns it
    stage.dataset.state = "shown";
  } catch {
    picture.removeAttribute("slot");
    stage.prepend(picture);
    made?.remove();
    button.remove();
    stage.querySelector("[data-problem]").hidden = false;
    stage.dataset.state = "failed";
  }
  stage.setAttribute("aria-busy", false);
}

front.addEventListener("click", () => goHome(models));

if (has3D()) {
  for (const stage of grid.querySelectorAll("[data-model]")) {
    const button = stage.querySelector("[data-show]");
    button.hidden = false;
    button.addEventListener("click", () => show(stage));
  }
}
