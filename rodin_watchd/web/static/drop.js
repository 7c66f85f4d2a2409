// Files come into a drop by the tus protocol: what broke off goes on where it stopped. Without this script a plain form does it at once.

import { post, refusal, renew, token } from "./session.js";

const zone = document.getElementById("dropzone");
const list = document.getElementById("uploads");
const form = zone.querySelector("form");
const PIECE = 8 << 20; // bytes of one request
const WAITS = [0, 1000, 3000, 5000, 10000, ...Array(60).fill(30000)]; // milliseconds before a try that follows a broken connection

let drop = zone.dataset.drop;
let busy = 0;

// ---- what was dropped: files, and folders with all that is in them ------------------------------------------------

async function filesOf(items) {
  const dropped = [...items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const one of dropped) {
    if (one instanceof File) found.push({ path: one.name, file: one });
    else await walk(one, "", found);
  }
  return found;
}

async function walk(entry, folder, found) {
  const path = folder ? `${folder}/${entry.name}` : entry.name;
  if (entry.isFile) {
    found.push({ path, file: await new Promise((done, failed) => entry.file(done, failed)) });
    return;
  }
  const reader = entry.createReader();
  for (let some; (some = await new Promise((done, failed) => reader.readEntries(done, failed))).length; ) {
    for (const inner of some) await walk(inner, path, found);
  }
}

const chosen = (input) => [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));

// A folder that holds all gives its name to the drop; hidden files of systems stay out.
function laidOut(files) {
  const shown = files.filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")) && !/(^|\/)(thumbs\.db|desktop\.ini)$/i.test(path));
  const tops = new Set(shown.map(({ path }) => path.split("/")[0]));
  const [top] = tops;
  if (tops.size !== 1 || !shown.every(({ path }) => path.includes("/"))) {
    const model = shown.find(({ path }) => /\.(glb|fbx|obj|stl|usdz)$/i.test(path)) ?? shown[0];
    return { name: (model?.path ?? "drop").split("/").pop().replace(/\.[^.]*$/, ""), shown };
  }
  return { name: top, shown: shown.map(({ path, file }) => ({ path: path.slice(top.length + 1), file })) };
}

// ---- sending ------------------------------------------------------------------------------------------------------

function row(path) {
  const item = document.createElement("li");
  const name = document.createElement("b");
  const bar = document.createElement("progress");
  const words = document.createElement("span");
  name.textContent = path;
  bar.max = 1;
  bar.setAttribute("aria-label", path);
  item.append(name, bar, words);
  list.append(item);
  return { bar, words, item };
}

function upload({ path, file }) {
  const { bar, words, item } = row(path);
  let isExpired = false; // the token of the session
  let renewals = 0; // since the last bytes that arrived
  return new Promise((done) => {
    const sending = new tus.Upload(file, {
      endpoint: `/api/v1/drops/${drop}/uploads`,
      metadata: { path },
      chunkSize: PIECE,
      retryDelays: WAITS,
      removeFingerprintOnSuccess: true,
      fingerprint: async () => ["rodin", drop, path, file.size, file.lastModified].join("-"),
      onBeforeRequest: async (request) => {
        if (isExpired) isExpired = !(await renew().catch(() => false));
        request.setHeader("X-CSRF-Token", token());
      },
      onProgress: (sent, all) => { bar.value = all ? sent / all : 1; words.textContent = ""; },
      onChunkComplete: () => { renewals = 0; },
      onShouldRetry: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        isExpired ||= status === 401 || status === 403;
        if (status === 401) words.replaceChildren(...refusal(401));
        else words.textContent = zone.dataset.interrupted;
        return status === 0 || status === 401 || status === 423 || status >= 500 || (status === 403 && renewals++ < 2);
      },
      onSuccess: () => { item.remove(); done(); },
      onError: (error) => {
        let why = [error.message];
        try { why = refusal(error.originalResponse.getStatus(), JSON.parse(error.originalResponse.getBody())); } catch { /* no words of the service */ }
        words.replaceChildren(...why);
        item.className = "bad";
        done();
      },
    });
    sending.findPreviousUploads().then((known) => { if (known.length) sending.resumeFromPreviousUpload(known[0]); sending.start(); });
  });
}

async function take(files) {
  const { name, shown } = laidOut(files);
  if (!shown.length) return;
  busy += 1;
  zone.classList.add("busy");
  try {
    drop ||= await begun(name);
    if (location.pathname !== `/drops/${drop}`) history.pushState(null, "", `/drops/${drop}`);
    const queue = [...shown];
    const worker = async () => { for (let next; (next = queue.shift()); ) await upload(next); };
    await Promise.all([worker(), worker(), worker()]);
  } catch (error) {
    const { words, item } = row("");
    words.append(...(error.words ?? [document.body.dataset.unreachable]));
    item.className = "bad";
  } finally {
    busy -= 1;
  }
  if (busy) return;
  zone.classList.remove("busy");
  if (drop) show();
}

async function begun(name) {
  const { status, data } = await post("/api/v1/drops", { name, folder: form.elements.folder?.value ?? "" });
  if (!data.id) throw Object.assign(new Error(data.error), { words: refusal(status, data) });
  return data.id;
}

// The page becomes that of the drop; what is said of files that were refused stays.
async function show() {
  try {
    const answer = await fetch(`/drops/${drop}`, { redirect: "error" });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const place = fresh.getElementById("dropzone");
    document.title = fresh.title;
    zone.className = place.className;
    place.replaceWith(zone);
    document.querySelector("main").replaceWith(fresh.querySelector("main"));
  } catch {
    location.assign(`/drops/${drop}`);
  }
}

// ---- events -------------------------------------------------------------------------------------------------------

if (window.tus) {
  document.documentElement.classList.add("scripted");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    take(chosen(form.elements.files));
  });
  for (const input of form.querySelectorAll("input[type=file]")) input.addEventListener("change", () => take(chosen(input)));
  form.querySelector("button[type=submit]").hidden = true;
  form.querySelector("label.folder").hidden = false;
  let isOurs = false; // a picture or a link of this page itself is dragged
  document.addEventListener("dragstart", () => { isOurs = true; });
  document.addEventListener("dragend", () => { isOurs = false; });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      if (isOurs || !event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) zone.classList.remove("over"); });
  document.addEventListener("drop", async (event) => {
    if (!zone.classList.contains("over")) return;
    event.preventDefault();
    zone.classList.remove("over");
    take(await filesOf(event.dataTransfer.items));
  });
  window.addEventListener("popstate", () => location.reload());
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files].map((file) => ({ path: file.name === "image.png" ? `pasted-${Date.now()}.png` : file.name, file }));
    if (files.length) take(files);
  });
  window.addEventListener("beforeunload", (event) => { if (busy) event.preventDefault(); });
}
