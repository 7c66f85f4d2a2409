// Requests that change something: they carry the token of the session. One that has ended is begun again, and nothing that was filled in is lost.

const meta = () => document.querySelector('meta[name="csrf"]');

export const token = () => meta().content;

// Fetch the token of now: the page has started again, or somebody has logged in. Says whether it is another one.
export async function renew() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected) return false; // to the login
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector('meta[name="csrf"]');
  if (!fresh || fresh.content === token()) return false;
  meta().content = fresh.content;
  return true;
}

// Send data to the API; returns the status and the data of its answer. Throws where the page cannot be reached.
export async function post(path, fields, mayRenew = true) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": token() },
    body: JSON.stringify(fields),
  });
  if (mayRenew && [401, 403].includes(answer.status) && (await renew())) return post(path, fields, false);
  return { status: answer.status, data: await answer.json() };
}

// What a refusal says to a person, as nodes and text: why, or where to log in again.
export function refusal(status, data) {
  if (status !== 401) return [[data.error, data.advice].filter(Boolean).join(" ")];
  const { ended, login } = document.body.dataset;
  return [ended, " ", Object.assign(document.createElement("a"), { href: "/login", target: "_blank", textContent: login })];
}
