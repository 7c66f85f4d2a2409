// The 3D result of a set: to turn, to choose among several, and to compare with the model that was dropped.
// Without this script the page has the picture and the download link.

const section = document.getElementById("viewer");
const stage = section.querySelector(".stage");
const picture = stage.querySelector("img");
const tools = section.querySelector(".tools");
const problem = section.querySelector("[data-problem]");
const alone = section.querySelector("[data-alone]");
const compare = section.querySelector("[data-compare]");
const split = section.querySelector("[data-split]");
const choice = section.querySelector("[data-choice]");
const large = section.querySelector("[data-large]");
const consent = section.querySelector("[data-consent]");

const HOME = { cameraOrbit: "0deg 75deg 105%", cameraTarget: "auto auto auto", fieldOfView: "auto" };
const CLAY = [0.72, 0.72, 0.73, 1];

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
let leader = null; // the one of both that a person turns: the other one follows

function busy(is) {
  section.setAttribute("aria-busy", is);
}

// The picture takes the place of what cannot be shown, and the page says what to do.
function fail() {
  leave();
  result?.remove();
  result = null;
  picture.removeAttribute("slot");
  stage.prepend(picture);
  tools.hidden = true;
  problem.hidden = false;
  section.dataset.state = "failed";
  busy(false);
}

// Resolves when a model may be loaded: at once, or when a person wants a large one all the same. A newer question takes the place of
// one that nobody has answered.
async function wanted({ bytes, load }) {
  const byTouch = matchMedia("(pointer: coarse)").matches;
  large.hidden = Number(bytes) <= Number(byTouch ? section.dataset.mostByTouch : section.dataset.most);
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
function shown(element) {
  return new Promise((resolve, reject) => {
    element.addEventListener("load", resolve, { once: true });
    element.addEventListener("error", () => reject(new Error("not shown")), { once: true });
  });
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

// ---- The model that was dropped, as it came: without what the vendor painted ----

async function makeClay(element) {
  for (const material of element.model.materials) {
    await material.ensureLoaded();
    const surface = material.pbrMetallicRoughness;
    const textures = [surface.baseColorTexture, surface.metallicRoughnessTexture, material.normalTexture, material.occlusionTexture, material.emissiveTexture];
    for (const texture of textures) texture?.setTexture(null);
    surface.setBaseColorFactor(CLAY);
    surface.setMetallicFactor(0);
    surface.setRoughnessFactor(0.85);
    material.setEmissiveFactor([0, 0, 0]);
  }
}

async function fetchDropped() {
  const fetched = view(section.dataset.before, compare.dataset.label);
  fetched.classList.add("before");
  stage.insertBefore(fetched, split);
  try {
    await shown(fetched);
  } catch (error) {
    fetched.remove();
    throw error;
  }
  await makeClay(fetched);
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

async function show() {
  busy(true);
  try {
    if (!has3D()) throw new Error("no WebGL");
    await import("./vendor/model-viewer.min.js");
    result = view(section.dataset.model, section.dataset.label);
    picture.slot = "poster";
    result.append(picture);
    stage.prepend(result);
    await shown(result);
    atHome(result);
    tools.hidden = false;
    section.dataset.state = "shown";
  } catch {
    fail();
  }
  busy(false);
}

// One that cannot be shown leaves the choice of the others.
async function change({ value: url, dataset }) {
  await wanted(dataset);
  busy(true);
  problem.hidden = true;
  result.src = url;
  try {
    await shown(result);
    await goHome();
    atHome(result);
  } catch {
    problem.hidden = false;
  }
  busy(false);
}

section.querySelector("[data-home]").addEventListener("click", goHome);
choice?.addEventListener("change", () => change(choice.selectedOptions[0]));
split?.addEventListener("input", place);
compare?.addEventListener("click", async () => {
  const begins = compare.getAttribute("aria-pressed") !== "true";
  compare.setAttribute("aria-pressed", begins);
  if (!begins) return leave();
  compare.disabled = true;
  try {
    if (!dropped) await wanted(compare.dataset);
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
  wanted(section.dataset).then(show);
}).observe(stage);
