// What the server says of itself and of a picture. Addresses are relative, so a proxy may put the page below a path.

const FACTS_MS = 10_000;

export class Refused extends Error {
  constructor(message, status, again) {
    super(message);
    this.status = status;
    this.again = again; // milliseconds after which asking again makes sense, or 0
  }
}

let token = ""; // of the admin listener, while this page is open; kept nowhere
export const setToken = (typed) => { token = typed; };
const rights = () => (token ? { Authorization: `Bearer ${token}` } : {});

export const address = (path) => new URL(path, document.baseURI).href;

export async function readFacts() {
  const answer = await fetch(address("./"), { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(FACTS_MS) });
  if (!answer.ok) throw new Refused(`status ${answer.status}`, answer.status, 0);
  return answer.json();
}

export function predictPath(tasks, every) {
  const all = tasks.length === every.length && tasks.length > 8;
  return all ? "v1/predict" : `v1/predict?tasks=${tasks.map(encodeURIComponent).join(",")}`;
}

// Ask about one picture; resolves to the server's document, with the milliseconds of the whole round trip.
export async function predict(picture, path, signal) {
  const start = performance.now();
  let answer;
  try {
    answer = await fetch(address(path), { method: "POST", body: picture, headers: rights(), signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Refused("the server does not answer; is it still running?", 0, 2000);
  }
  const document_ = await answer.json().catch(() => null);
  if (answer.ok && document_) return { ...document_, round: performance.now() - start };
  const text = document_?.error ?? `the server answered with status ${answer.status}`;
  const again = answer.status === 503 ? 1000 * Number(answer.headers.get("Retry-After") ?? 1) : 0;
  throw new Refused(text, answer.status, again);
}

// Load or unload a task; resolves when the server has done it.
export async function change(task, what, parameters) {
  if (!token) throw new Refused("type the server's token first", 0, 0);
  if (!/^[\x20-\x7e]+$/.test(token)) throw new Refused("the token has characters that no token has", 0, 0);
  const path = `v2/repository/models/${encodeURIComponent(task)}/${what}`;
  let answer;
  try {
    answer = await fetch(address(path), { method: "POST", headers: { ...rights(), "Content-Type": "application/json" }, body: JSON.stringify({ parameters }) });
  } catch {
    throw new Refused("the server does not answer; is it still running?", 0, 0);
  }
  if (answer.ok) return;
  const said = await answer.json().catch(() => null);
  throw new Refused(answer.status === 401 ? "the server does not know this token" : said?.error ?? `status ${answer.status}`, answer.status, 0);
}
