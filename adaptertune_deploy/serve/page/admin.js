// Adding a task by its adapter folder, and removing one: on the admin listener, for who has its token.

import { element, find } from "./element.js";
import { bytes, plural } from "./format.js";
import { sentence } from "./picture.js";
import { Refused, change, setToken } from "./server.js";

const CONFIG = "adapter_config.json";
const WANTED = [CONFIG, "adapter_model.safetensors", "reference.safetensors"];
const SAMPLES = "samples/";
const MOST_SAMPLES = 8; // which the server verifies the task on
const MOST_DEPTH = 2; // of folders

let most = 0; // bytes of a request that the server takes
let done = async () => {}; // called when the tasks are others

// `changed` looks at the server again.
export function startAdmin(changed) {
  done = changed;
  find("token").oninput = ({ target }) => setToken(target.value.trim());
  find("admin").onsubmit = (event) => event.preventDefault();
  find("folder-pick").onclick = () => find("folder-file").click();
  find("folder-file").onchange = async ({ target }) => {
    const files = [...target.files].map((file) => [file.webkitRelativePath.split("/").slice(1).join("/"), file]);
    const name = target.files[0]?.webkitRelativePath.split("/")[0] ?? "the folder";
    target.value = "";
    await add(name, new Map(files));
  };
}

export function showAdmin({ changes, limits, tasks }) {
  find("admin").hidden = !changes;
  if (!changes) return;
  most = limits.bytes;
  find("removals").replaceChildren(...Object.keys(tasks).map((name) => {
    const button = element("button", { type: "button" }, `Remove ${name}`);
    button.onclick = () => remove(name);
    return element("li", {}, button);
  }));
}

// Whether a drop is a folder for us; it is read while the event lasts, and added after it.
export function takeFolder(transfer) {
  if (find("admin").hidden) return false;
  const entries = [...(transfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry?.isDirectory);
  if (!entries.length) return false;
  if (entries.length > 1) say("not added: drop one folder at a time", "bad");
  else walk(entries[0], "", 0, new Map()).then((files) => add(entries[0].name, files), () => say("not added: this browser can't read the folder", "bad"));
  return true;
}

async function walk(folder, path, depth, found) {
  const reader = folder.createReader();
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return found;
    for (const entry of entries) {
      const place = path + entry.name;
      if (entry.isFile && (WANTED.includes(place) || path === SAMPLES)) {
        found.set(place, await new Promise((resolve, reject) => entry.file(resolve, reject)));
      } else if (entry.isDirectory && depth + 1 < MOST_DEPTH && `${place}/` === SAMPLES) {
        await walk(entry, `${place}/`, depth + 1, found);
      }
    }
  }
}

async function add(folder, files) {
  await attempt("added", async () => {
    const config = await read(folder, files);
    const name = config.task.name;
    const samples = config.samples.map(({ file }) => SAMPLES + file).filter((file) => files.has(file)).slice(0, MOST_SAMPLES);
    const sent = [...WANTED.filter((file) => files.has(file)), ...samples];
    const size = sent.reduce((sum, file) => sum + files.get(file).size, 0);
    if (size * 4 / 3 > most) throw new Refused(`${folder} has ${bytes(size)}, a third more as it is sent; this server takes at most ${bytes(most)}`, 0, 0);
    say(`adding ${name}: ${plural(sent.length, "file")}, ${bytes(size)}`, "wait");
    const parameters = {};
    for (const file of sent) parameters[`file:${file}`] = await base64(files.get(file));
    await change(name, "load", parameters);
    return `added ${name}; it is served until this server is started again`;
  });
}

async function read(folder, files) {
  const wrong = (what) => new Refused(`${folder} ${what}; choose a folder that atd train wrote, such as adapters/pets`, 0, 0);
  if (!files.has(CONFIG)) throw wrong(`holds no ${CONFIG}, so it is no adapter folder`);
  let config;
  try {
    config = JSON.parse(await files.get(CONFIG).text());
  } catch {
    throw wrong(`holds a damaged ${CONFIG}`);
  }
  if (typeof config?.task?.name !== "string" || !Array.isArray(config.samples)) throw wrong(`holds an ${CONFIG} of something else`);
  return config;
}

async function remove(name) {
  if (!confirm(`Remove ${name}? New requests get no answer of it; the bundle keeps it.`)) return;
  await attempt("removed", async () => {
    say(`removing ${name}`, "wait");
    await change(name, "unload", {});
    return `removed ${name}; the bundle keeps it`;
  });
}

async function attempt(what, work) {
  if (find("admin").getAttribute("aria-busy")) return;
  find("admin").setAttribute("aria-busy", "true");
  try {
    const words = await work();
    await done();
    say(words, "good");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(`not ${what}: ${error.message}`, "bad");
  } finally {
    find("admin").removeAttribute("aria-busy");
  }
}

function say(words, kind) {
  find("change").textContent = sentence(words);
  find("change").className = `note ${kind}`;
}

const base64 = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => reject(new Refused(`${file.name} can't be read`, 0, 0));
  reader.readAsDataURL(file);
});
