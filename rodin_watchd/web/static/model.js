// 3D models in a page: loaded by model-viewer, converted where they are no GLB, turned together. viewer.js and siblings.js share it.

const HOME = { cameraOrbit: "0deg 75deg 105%", cameraTarget: "auto auto auto", fieldOfView: "auto" };
export const GLB = /\.glb$/i;
const LONGEST = 120e3; // milliseconds that a conversion may take

// All that model-viewer would ask of other hosts is here. It never asks for Lottie, which only a page's own script can use.
const here = (name) => new URL(name, import.meta.url).href;
self.ModelViewerElement = {
  dracoDecoderLocation: here("vendor/draco/"),
  ktx2TranscoderLocation: here("vendor/basis/"),
  meshoptDecoderLocation: here("meshopt.js"),
  lottieLoaderLocation: here("lottie.js"),
};

export function has3D() {
  const context = document.createElement("canvas").getContext("webgl2");
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  return context !== null;
}

// `views`: how sides are called, as JSON.
export function view(url, label, views) {
  const made = document.createElement("model-viewer");
  const attributes = {
    src: url,
    alt: label,
    a11y: views,
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
export async function shown(element) {
  const { src } = element;
  await new Promise((resolve, reject) => {
    element.addEventListener("load", resolve, { once: true });
    element.addEventListener("error", () => reject(new Error("not shown")), { once: true });
  });
  if (src.startsWith("blob:")) URL.revokeObjectURL(src);
}

const home = new WeakMap(); // the distance from which a model is seen at first

// Models of different sizes are framed alike: the distance of each is counted in its own first one.
export function follow(one, other) {
  if (!one || !other?.loaded || !one.loaded) return;
  const { theta, phi, radius } = one.getCameraOrbit();
  other.cameraOrbit = `${theta}rad ${phi}rad ${(radius / home.get(one)) * home.get(other)}m`;
  other.jumpCameraToGoal();
}

// To be called when a model is shown, and not turned yet.
export function atHome(element) {
  home.set(element, element.getCameraOrbit().radius);
}

export async function goHome(elements) {
  for (const element of elements) {
    Object.assign(element, HOME);
    for (const name of Object.keys(HOME)) element.requestUpdate(name, ""); // it may have been turned by hand since
    await element.updateComplete;
    element.jumpCameraToGoal();
  }
}

// Resolves with the address of a GLB, and rejects when there is none. `like`: the size that the model is to have, without its materials;
// `beside`: addresses of what it may name; `converting`: an element that is seen while it is converted.
export async function glbOf(url, { like, beside, converting }) {
  if (!like && GLB.test(url)) return url;
  const worker = new Worker(here("convert.js"), { type: "module" });
  converting.hidden = false;
  try {
    const { glb } = await new Promise((resolve, reject) => {
      worker.onmessage = (event) => resolve(event.data);
      worker.onerror = () => reject(new Error("no worker"));
      setTimeout(() => reject(new Error("too slow")), LONGEST);
      worker.postMessage({ url, like, beside: JSON.parse(beside) });
    });
    if (!glb) throw new Error("not converted");
    return URL.createObjectURL(new Blob([glb], { type: "model/gltf-binary" }));
  } finally {
    worker.terminate();
    converting.hidden = true;
  }
}
