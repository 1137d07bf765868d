// The page: brings picture, tasks and answers together.

import { showAdmin, startAdmin, takeFolder } from "./admin.js";
import { showAnswers, showNothing, showTiming, spoken } from "./answers.js";
import { isOn, startCamera, stopCamera } from "./camera.js";
import { setOrder } from "./colours.js";
import { draw } from "./drawing.js";
import { element, find } from "./element.js";
import { bytes } from "./format.js";
import { showPicture, showTrouble, startPicture } from "./picture.js";
import { Refused, predict, predictPath, readFacts } from "./server.js";
import { showSnippets, startSnippets } from "./snippets.js";
import { chosen, showChooser, showSamples, showTable } from "./tasks.js";

const AGAIN_MS = 5000;
const MOST_TICKED = 12; // of themselves; a person may tick more

let facts = null;
let picture = null; // { blob, name } that was asked about last
let asking = null; // AbortController of the request under way

// Ask about the picture; resolves to the milliseconds after which to ask again, where that makes sense.
async function ask() {
  asking?.abort();
  const mine = asking = new AbortController();
  const tasks = chosen();
  try {
    check(tasks);
    const path = predictPath(tasks, Object.keys(facts.tasks));
    find("answers").setAttribute("aria-busy", "true");
    const answer = await predict(picture.blob, path, mine.signal);
    if (mine.signal.aborted) return 0;
    showTrouble("");
    show(answer, path, tasks);
    return 0;
  } catch (error) {
    if (mine.signal.aborted) return 0;
    if (!(error instanceof Refused)) throw error;
    showTrouble(error.message);
    find("timing").hidden = true;
    showNothing(find("answers"), tasks, "no answer");
    return error.again || (error.status ? 1000 : 0);
  } finally {
    if (mine === asking) find("answers").removeAttribute("aria-busy");
  }
}

function check(tasks) {
  if (!facts) throw new Refused("the server has not said which tasks it has; is it still running?", 0, 1000);
  if (!tasks.length) throw new Refused("no task is chosen; tick at least one", 0, 1000);
  const { rows, bytes: most } = facts.limits;
  if (tasks.length > rows) throw new Refused(`${tasks.length} tasks are chosen; this server answers at most ${rows} about one picture`, 0, 1000);
  if (picture.blob.size > most) throw new Refused(`the picture has ${bytes(picture.blob.size)}; this server takes at most ${bytes(most)}`, 0, 1000);
}

function show(answer, path, tasks) {
  const said = answer.images[0].tasks;
  showAnswers(find("answers"), said);
  showTiming(find("timing"), answer);
  if (!facts.changes) showSnippets(picture.name, path, tasks); // programs ask the public listener
  const words = spoken(said);
  // While a camera runs, only another best label is worth saying.
  const names = Object.values(said).map(([first]) => first.label).join();
  if (!isOn() || find("spoken").dataset.names !== names) find("spoken").textContent = words;
  find("spoken").dataset.names = names;
}

async function take(blob, name) {
  if (isOn()) toggleCamera();
  picture = { blob, name };
  showTrouble("");
  const [shown] = await Promise.all([showPicture(blob, name), ask()]);
  if (!shown && find("trouble").hidden) showTrouble("this browser can't show the picture; the server has read it");
}

async function takeSample({ path, label, task }) {
  const answer = await fetch(path).catch(() => null);
  if (!answer?.ok) {
    showTrouble(answer ? "the server has this picture no longer" : "the server does not answer; is it still running?");
    return;
  }
  const blob = await answer.blob();
  const kind = blob.type.split("/")[1].replace("jpeg", "jpg");
  await take(blob, `${task}-${label.replace(/[^A-Za-z0-9]+/g, "-")}.${kind}`);
}

function toggleCamera() {
  if (isOn()) {
    stopCamera();
    asking?.abort();
    find("hint").hidden = !find("canvas").hidden;
    showCamera("");
  } else {
    startCamera((blob) => {
      picture = { blob, name: "camera.jpg" };
      return ask();
    }, showCamera);
  }
}

function showCamera(reason) {
  find("camera").setAttribute("aria-pressed", isOn());
  find("camera").textContent = isOn() ? "Stop the camera" : "Use the camera";
  find("camera-note").textContent = reason && `${reason[0].toUpperCase()}${reason.slice(1)}.`;
  find("camera-note").hidden = !reason;
}

function showFacts(found) {
  const names = Object.keys(found.tasks);
  const before = facts && Object.keys(facts.tasks);
  const same = facts && JSON.stringify(facts.tasks) === JSON.stringify(found.tasks);
  facts = found;
  showState(found.not_ready ?? "ready", found.not_ready ? "wait" : "good");
  if (same) return;
  // What a person chose stays; a task that came is ticked as long as those are few.
  const on = new Set(chosen());
  const kept = names.filter((name) => on.has(name));
  const room = Math.max(0, Math.min(found.limits.rows, MOST_TICKED) - kept.length);
  const ticked = new Set([...kept, ...names.filter((name) => !before?.includes(name)).slice(0, room)]);
  setOrder(names);
  showLead(found);
  draw(find("drawing"), found);
  showChooser(names, ticked, () => (picture ? ask() : showNothing(find("answers"), chosen(), "no picture yet")));
  showSamples(found.tasks, takeSample);
  showTable(found.tasks);
  showAdmin(found);
  showFooter(found);
  if (picture) ask();
  else showNothing(find("answers"), [...ticked], "no picture yet");
}

function showLead({ backbone, form, tasks }) {
  const sizes = Object.values(tasks).map((task) => task.bytes).filter(Boolean);
  if (form !== "shared") {
    find("lead").textContent = "Every task is a small adapter beside the blocks of one frozen vision transformer. This server runs the merged form: one graph for each task.";
  } else if (backbone?.bytes && sizes.length) {
    const most = bytes(Math.max(...sizes));
    find("lead").textContent = `A frozen vision transformer of ${bytes(backbone.bytes)} is loaded once. Each task adds a small adapter beside its blocks, here at most ${most}, and one batch mixes them all.`;
  }
}

function showState(words, kind) {
  const place = find("state");
  const engine = facts ? `${facts.engine} on ${facts.device}, ${facts.precision}` : "";
  const text = [words, engine].filter(Boolean).join(" · ");
  if (place.textContent !== text) place.textContent = text;
  place.className = `state ${kind}`;
}

function showFooter({ name, version, endpoints }) {
  const links = { docs: "API", metrics: "Metrics", v2: "Open Inference Protocol" };
  const shown = Object.entries(links).filter(([path]) => endpoints.includes(`/${path}`));
  find("footer").replaceChildren(
    element("p", {}, `${name} ${version}. Pictures stay between this browser and this server.`),
    element("p", {}, ...shown.map(([path, words]) => element("a", { href: path }, words))),
  );
}

async function look() {
  try {
    showFacts(await readFacts());
  } catch {
    showState("the server does not answer", "bad");
  }
}

async function follow() {
  if (!document.hidden || !facts) await look();
  setTimeout(follow, AGAIN_MS);
}

let width = 0;
new ResizeObserver(([{ contentRect }]) => {
  if (facts && contentRect.width !== width) draw(find("drawing"), facts);
  width = contentRect.width;
}).observe(find("drawing"));
startPicture(take, takeFolder);
startAdmin(look);
startSnippets();
find("camera").onclick = toggleCamera;
addEventListener("focus", look);
follow();
