// Live pages: when the service has written something, the page is fetched once more, and what has changed in it is exchanged.
// Forms are sent to the API, so that the answer is read without leaving the page. Without this script both work by plain links and forms.

import { post, refusal } from "./session.js";

const PAUSE = 1000; // between two looks, in milliseconds

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
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.ok) exchange(fresh);
      missing(answer.ok ? "" : fresh.querySelector("main section.notice p")?.textContent ?? document.body.dataset.old);
      await new Promise((done) => setTimeout(done, PAUSE));
    }
  } catch {
    missing(document.body.dataset.old); // the next event, or the browser's own reconnection, looks again
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

// Says above all else that what is shown is old, and why; "" when it is not any more.
function missing(why) {
  const said = document.getElementById("missing");
  if (said.textContent !== why) said.textContent = why;
  said.hidden = !why;
}

function send(form) {
  const fields = Object.fromEntries(new FormData(form));
  delete fields.csrf;
  if (fields.seen !== undefined) fields.seen = JSON.parse(fields.seen);
  return post(form.dataset.api, fields);
}

function warn(...words) {
  const notice = document.createElement("section");
  const text = document.createElement("p");
  notice.className = "notice bad";
  notice.setAttribute("role", "alert");
  text.append(...words);
  notice.append(text);
  document.querySelector(".notices").append(notice);
  notice.scrollIntoView({ block: "nearest" });
}

// Says the answer without leaving the page: what it shows in 3D stays.
function stay(card, message) {
  const said = document.querySelector("[data-said]");
  said.textContent = message;
  said.hidden = false;
  card.querySelector("h2 a").focus(); // the button is exchanged
  look();
}

// The page with the answer to a command; what it shows of sets stays as it was chosen.
function answered(command) {
  const query = new URLSearchParams(location.search);
  query.delete("sent");
  query.set("answer", command);
  return `${location.pathname}?${query}`;
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.api) return;
  event.preventDefault();
  const button = form.querySelector("button[type=submit]");
  const card = form.closest("li"); // the form may be exchanged before the answer is there
  button.disabled = true;
  try {
    const { status, data } = await send(form);
    if (data.command === undefined) warn(...refusal(status, data));
    else if (form.dataset.stays !== undefined && data.answer?.ok) stay(card, data.answer.message);
    else location.assign(answered(data.command));
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

if (document.querySelector("[data-live]")) {
  const events = new EventSource("/api/v1/events");
  events.addEventListener("changed", (event) => { news = event.data; look(); });
  events.addEventListener("error", look);
}
