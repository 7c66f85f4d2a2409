// Live pages: when the service has written something, the page is fetched once more, and what has changed in it is exchanged.
// Forms are sent to the API, so that the answer is read without leaving the page. Without this script both work by plain links and forms.

const PAUSE = 1000; // between two looks, in milliseconds

const token = () => document.querySelector('meta[name="csrf"]').content;

let due = false;
let looking = false;
let news = ""; // the number of the newest: who has the same gets the same page

async function look() {
  due = true;
  if (looking || document.hidden) return;
  looking = true;
  try {
    while (due) {
      due = false;
      const answer = await fetch(location.href, { headers: { Accept: "text/html", "X-News": news }, redirect: "error" });
      if (answer.ok) exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
      await new Promise((done) => setTimeout(done, PAUSE));
    }
  } catch {
    // the page is not there at the moment: the next event, or the browser's own reconnection, looks again
  } finally {
    looking = false;
  }
}

// The results of a set come with their viewer, which needs a policy of its own: the page as a whole is another one then.
const results = (page) => page.querySelector("[data-results]")?.dataset.results;

function exchange(fresh) {
  if (results(fresh) !== results(document)) return location.reload();
  document.querySelector('meta[name="csrf"]').content = fresh.querySelector('meta[name="csrf"]').content;
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.querySelector(`[data-live="${old.dataset.live}"]`);
    if (now && now.innerHTML !== old.dataset.shown && !old.contains(document.activeElement)) {
      merge(old, now);
      old.className = now.className;
      old.dataset.shown = now.innerHTML;
    }
  }
}

// Pictures that are there already stay: a card whose words have changed does not flicker.
function merge(old, now) {
  const pictures = new Map([...old.querySelectorAll("img")].map((image) => [image.getAttribute("src"), image]));
  for (const image of now.querySelectorAll("img")) {
    const known = pictures.get(image.getAttribute("src"));
    if (known) image.replaceWith(known);
  }
  const open = new Set([...old.querySelectorAll("details[open]")].map((one) => one.querySelector("summary").textContent));
  for (const one of now.querySelectorAll("details")) if (open.has(one.querySelector("summary").textContent)) one.open = true;
  old.replaceChildren(...now.childNodes);
}

async function send(form) {
  const fields = Object.fromEntries(new FormData(form));
  delete fields.csrf;
  if (fields.seen !== undefined) fields.seen = JSON.parse(fields.seen);
  const answer = await fetch(form.dataset.api, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": token() },
    body: JSON.stringify(fields),
  });
  return answer.json();
}

function warn(text) {
  const notice = document.createElement("section");
  notice.className = "notice bad";
  notice.setAttribute("role", "alert");
  notice.append(Object.assign(document.createElement("p"), { textContent: text }));
  document.querySelector(".notices").append(notice);
  notice.scrollIntoView({ block: "nearest" });
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.api) return;
  event.preventDefault();
  const button = form.querySelector("button[type=submit]");
  button.disabled = true;
  try {
    const data = await send(form);
    if (data.command === undefined) warn([data.error, data.advice].filter(Boolean).join(" "));
    else location.assign(`${location.pathname}?answer=${data.command}`);
  } catch {
    warn(document.body.dataset.unreachable);
  } finally {
    button.disabled = false;
  }
});

for (const select of document.querySelectorAll("form.filter select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

for (const image of document.querySelectorAll("img")) image.addEventListener("error", () => image.classList.add("none"));
document.addEventListener("visibilitychange", () => { if (due) look(); });

if (document.querySelector("[data-live]")) new EventSource("/api/v1/events").addEventListener("changed", (event) => { news = event.data; look(); });
