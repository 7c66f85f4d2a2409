// The 3D result of a set: to turn, to choose among several, and to compare with the model that was dropped.
// Without this script the page has the picture and the download link. Models in other formats than GLB become one in convert.js.

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

const HOME = { cameraOrbit: "0deg 75deg 105%", cameraTarget: "auto auto auto", fieldOfView: "auto" };
const GLB = /\.glb$/i;
const LONGEST = 120e3; // milliseconds that a conversion may take

// All that model-viewer would ask of other hosts is here. It never asks for Lottie, which only a page's own script can use.
const here = (name) => new URL(name, import.meta.url).href;
self.ModelViewerElement = {
  dracoDecoderLocation: here("vendor/draco/"),
  ktx2TranscoderLocation: here("vendor/basis/"),
  meshoptDecoderLocation: here("meshopt.js"),
  lottieLoaderLocation: here("lottie.js"),
};

let result = null; // the element with the result
let dropped = null; // the element with the dropped model, once somebody compares
let asked = 0; // how many models were asked for: the newest is shown
let leader = null; // the one of both that a person turns: the other one follows

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

function has3D() {
  const context = document.createElement("canvas").getContext("webgl2");
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  return context !== null;
}

function view(url, label) {
  const made = document.createElement("model-viewer");
  const attributes = {
    src: url,
    alt: label,
    a11y: section.dataset.views,
    loading: "eager",
    "camera-controls": "",
    "touch-action": "pan-y",
    "interaction-prompt": "none",
    "camera-orbit": HOME.cameraOrbit,
    "environment-image": here("studio.hdr"),
    "shadow-intensity": "0.7",
    "shadow-softness": "0.9",
  };
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  const bar = Object.assign(document.createElement("progress"), { slot: "progress-bar", max: 1, value: 0 });
  bar.setAttribute("aria-hidden", "true"); // section[aria-busy] says it
  made.append(bar);
  made.addEventListener("progress", (event) => { bar.value = event.detail.totalProgress; bar.hidden = bar.value === 1; });
  return made;
}

// Resolves when the model is there, and rejects when it cannot be shown.
async function shown(element) {
  const { src } = element;
  await new Promise((resolve, reject) => {
    element.addEventListener("load", resolve, { once: true });
    element.addEventListener("error", () => reject(new Error("not shown")), { once: true });
  });
  if (src.startsWith("blob:")) URL.revokeObjectURL(src);
}

// ---- Turning both together ----

const home = new WeakMap(); // the distance from which a model is seen at first

// Models of different sizes are framed alike: the distance of each is counted in its own first one.
function follow(one, other) {
  if (!one || !other?.loaded || !one.loaded) return;
  const { theta, phi, radius } = one.getCameraOrbit();
  other.cameraOrbit = `${theta}rad ${phi}rad ${(radius / home.get(one)) * home.get(other)}m`;
  other.jumpCameraToGoal();
}

function join(one, other) {
  const lead = () => { leader = one; };
  for (const kind of ["pointerdown", "wheel", "keydown", "focusin"]) one.addEventListener(kind, lead, { capture: true, passive: true });
  one.addEventListener("camera-change", () => { if (leader === one && stage.classList.contains("compares")) follow(one, other()); });
}

function atHome(element) {
  home.set(element, element.getCameraOrbit().radius);
}

async function goHome() {
  for (const element of [result, dropped].filter(Boolean)) {
    Object.assign(element, HOME);
    for (const name of Object.keys(HOME)) element.requestUpdate(name, ""); // it may have been turned by hand since
    await element.updateComplete;
    element.jumpCameraToGoal();
  }
}

// ---- Models in other formats than GLB, and the model that was dropped: without its materials ----

// Resolves with the address of a GLB, and rejects when there is none.
async function glbOf(url, like) {
  if (!like && GLB.test(url)) return url;
  const worker = new Worker(here("convert.js"), { type: "module" });
  converting.hidden = false;
  try {
    const { glb } = await new Promise((resolve, reject) => {
      worker.onmessage = (event) => resolve(event.data);
      worker.onerror = () => reject(new Error("no worker"));
      setTimeout(() => reject(new Error("too slow")), LONGEST);
      worker.postMessage({ url, like, beside: JSON.parse(section.dataset.beside) });
    });
    if (!glb) throw new Error("not converted");
    return URL.createObjectURL(new Blob([glb], { type: "model/gltf-binary" }));
  } finally {
    worker.terminate();
    converting.hidden = true;
  }
}

async function fetchDropped() {
  const { x, y, z } = result.getDimensions();
  const fetched = view(await glbOf(section.dataset.before, [x, y, z]), compare.dataset.label);
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
    const glb = await glbOf(url);
    if (turn !== asked) return;
    if (result) {
      result.src = glb;
    } else {
      result = view(glb, section.dataset.label);
      picture.slot = "poster";
      result.append(picture);
      stage.prepend(result);
    }
    await shown(result);
    if (turn !== asked) return;
    await goHome();
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

front.addEventListener("click", goHome);
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
