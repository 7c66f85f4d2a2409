// The 3D result of a set: to turn, to choose among several, and to compare with the model that was dropped.
// Without this script the page has the picture and the download link. Models in other formats than GLB become one in convert.js.

import { GLB, atHome, follow, glbOf, goHome, has3D, shown, view } from "./model.js";

const section = document.getElementById("viewer");
const stage = section.querySelector(".stage");
const picture = stage.querySelector("img");
const tools = section.querySelector(".tools");
const problem = section.querySelector("[data-problem]");
const converting = section.querySelector("[data-converting]");
const front = section.querySelector("[data-home]");
const alone = section.querySelector("[data-alone]");
const compare = section.querySelector("[data-compare]");
const split = section.querySelector("[data-split]");
const choice = section.querySelector("[data-choice]");
const large = section.querySelector("[data-large]");
const consent = section.querySelector("[data-consent]");

let result = null; // the element with the result
let dropped = null; // the element with the dropped model, once somebody compares
let asked = 0; // how many models were asked for: the newest is shown
let leader = null; // the one of both that a person turns: the other one follows

const model = { beside: section.dataset.beside, converting };
const seen = (url, label) => view(url, label, section.dataset.views);
const home = () => goHome([result, dropped].filter(Boolean));

function busy(is) {
  section.setAttribute("aria-busy", is);
}

// The picture takes the place of what cannot be shown, and the page says what to do.
function clear() {
  leave();
  for (const element of [result, dropped]) element?.remove();
  result = dropped = null;
  picture.removeAttribute("slot");
  stage.prepend(picture);
  for (const button of [compare, front]) button?.toggleAttribute("hidden", true);
  compare?.setAttribute("aria-pressed", false);
}

// Resolves when a model may be loaded: at once, or when a person wants a large one all the same. A newer question takes the place of
// one that nobody has answered.
async function wanted(url, { bytes, load }) {
  const { most, mostByTouch, heavier } = section.dataset;
  const bound = matchMedia("(pointer: coarse)").matches ? mostByTouch : most;
  large.hidden = Number(bytes) <= Number(bound) / (GLB.test(url) ? 1 : Number(heavier));
  if (large.hidden) return;
  consent.textContent = load;
  await new Promise((resolve) => { consent.onclick = resolve; });
  large.hidden = true;
}

// ---- Turning both together ----

function join(one, other) {
  const lead = () => { leader = one; };
  for (const kind of ["pointerdown", "wheel", "keydown", "focusin"]) one.addEventListener(kind, lead, { capture: true, passive: true });
  one.addEventListener("camera-change", () => { if (leader === one && stage.classList.contains("compares")) follow(one, other()); });
}

// ---- Models in other formats than GLB, and the model that was dropped: without its materials ----

async function fetchDropped() {
  const { x, y, z } = result.getDimensions();
  const fetched = seen(await glbOf(section.dataset.before, { like: [x, y, z], ...model }), compare.dataset.label);
  fetched.classList.add("before");
  stage.insertBefore(fetched, split);
  try {
    await shown(fetched);
    if (!result) throw new Error("nothing to compare with");
  } catch (error) {
    fetched.remove();
    throw error;
  }
  atHome(fetched);
  join(fetched, () => result);
  join(result, () => fetched);
  return fetched;
}

async function begin() {
  busy(true);
  try {
    dropped ??= await fetchDropped();
  } finally {
    busy(false);
  }
  stage.classList.add("compares");
  for (const element of [result, dropped]) element.toggleAttribute("disable-pan", true);
  leader = result;
  follow(result, dropped);
  place();
}

function leave() {
  stage.classList.remove("compares");
  result?.toggleAttribute("disable-pan", false);
}

// Where the dropped model ends and the result begins.
function place() {
  stage.style.setProperty("--split", `${split.value}%`);
}

// ---- Showing it ----

// One that cannot be shown leaves the picture, and the choice of the others.
async function show(url, size) {
  await wanted(url, size);
  const turn = ++asked;
  busy(true);
  delete section.dataset.state;
  problem.hidden = true;
  try {
    if (!has3D()) throw new Error("no WebGL");
    await import("./vendor/model-viewer.min.js");
    const glb = await glbOf(url, model);
    if (turn !== asked) return;
    if (result) {
      result.src = glb;
    } else {
      result = seen(glb, section.dataset.label);
      picture.slot = "poster";
      result.append(picture);
      stage.prepend(result);
    }
    await shown(result);
    if (turn !== asked) return;
    await home();
    atHome(result);
    for (const button of [compare, front]) button?.toggleAttribute("hidden", false);
    section.dataset.state = "shown";
  } catch {
    if (turn !== asked) return;
    clear();
    problem.hidden = false;
    section.dataset.state = "failed";
  }
  tools.hidden = !result && !(choice && has3D());
  busy(false);
}

front.addEventListener("click", home);
choice?.addEventListener("change", () => show(choice.value, choice.selectedOptions[0].dataset));
split?.addEventListener("input", place);
compare?.addEventListener("click", async () => {
  const begins = compare.getAttribute("aria-pressed") !== "true";
  compare.setAttribute("aria-pressed", begins);
  if (!begins) return leave();
  compare.disabled = true;
  try {
    if (!dropped) await wanted(section.dataset.before, compare.dataset);
    await begin();
    compare.disabled = false;
  } catch {
    compare.setAttribute("aria-pressed", false);
    alone.hidden = false;
  }
});

// The viewer is large: it comes when its place is seen.
new IntersectionObserver((entries, observer) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  observer.disconnect();
  show(section.dataset.model, section.dataset);
}).observe(stage);
