// Files come into a drop by the tus protocol: what broke off goes on where it stopped. Without this script a plain form does it at once.

const zone = document.getElementById("dropzone");
const list = document.getElementById("uploads");
const form = zone.querySelector("form");
const csrf = () => document.querySelector('meta[name="csrf"]').content;
const PIECE = 8 << 20; // bytes of one request
const WAITS = [0, 1000, 3000, 5000, 10000, 30000, 60000]; // milliseconds before a try that follows a broken connection

let drop = zone.dataset.drop;
let busy = 0;

async function call(path, fields) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf() },
    body: JSON.stringify(fields),
  });
  const data = await answer.json();
  if (!answer.ok) throw new Error([data.error, data.advice].filter(Boolean).join(" "));
  return data;
}

// ---- what was dropped: files, and folders with all that is in them ------------------------------------------------

async function filesOf(items) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  for (const entry of entries) await walk(entry, "", found);
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
  return new Promise((done) => {
    const sending = new tus.Upload(file, {
      endpoint: `/api/v1/drops/${drop}/uploads`,
      metadata: { path },
      chunkSize: PIECE,
      retryDelays: WAITS,
      removeFingerprintOnSuccess: true,
      fingerprint: async () => ["rodin", drop, path, file.size, file.lastModified].join("-"),
      onBeforeRequest: (request) => request.setHeader("X-CSRF-Token", csrf()),
      onProgress: (sent, all) => { bar.value = all ? sent / all : 1; words.textContent = ""; },
      onShouldRetry: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        const again = status === 0 || status === 423 || status >= 500;
        if (again) words.textContent = zone.dataset.broken;
        return again;
      },
      onSuccess: () => { bar.value = 1; item.className = "done"; done(true); },
      onError: (error) => {
        let why = error.message;
        try { const said = JSON.parse(error.originalResponse.getBody()); why = [said.error, said.advice].filter(Boolean).join(" "); } catch { /* no words of the service */ }
        words.textContent = why;
        item.className = "bad";
        done(false);
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
    if (!drop) drop = (await call("/api/v1/drops", { name, folder: form.elements.folder?.value ?? "" })).id;
    history.replaceState(null, "", `/drops/${drop}`);
    const queue = [...shown];
    const results = [];
    const worker = async () => { for (let next; (next = queue.shift()); ) results.push(await upload(next)); };
    await Promise.all([worker(), worker(), worker()]);
    busy -= 1;
    if (!busy && results.every(Boolean)) location.assign(`/drops/${drop}`);
  } catch (error) {
    busy -= 1;
    row("").words.textContent = error.message;
  } finally {
    if (!busy) zone.classList.remove("busy");
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
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => zone.classList.remove("over"));
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    take(await filesOf(event.dataTransfer.items));
  });
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files].map((file) => ({ path: file.name === "image.png" ? `pasted-${Date.now()}.png` : file.name, file }));
    if (files.length) take(files);
  });
  window.addEventListener("beforeunload", (event) => { if (busy) event.preventDefault(); });
}
