// The request just made, for a shell, for Python, and for tritonclient.

import { element, find } from "./element.js";
import { address } from "./server.js";

const WAYS = { curl, Python: python, tritonclient: triton };
let request = null;
let way = "curl";

const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const quoted = (text) => JSON.stringify(text).replaceAll("\u007f", "\\u007f");

function curl({ name, path }) {
  return `curl --data-binary ${shell(`@${name}`)} ${shell(address(path))}`;
}

function python({ name, path }) {
  return `import json
import urllib.request

with open(${quoted(name)}, "rb") as picture:
    question = urllib.request.Request(${quoted(address(path))}, data=picture.read())
with urllib.request.urlopen(question) as answer:
    tasks = json.load(answer)["images"][0]["tasks"]
for task, labels in tasks.items():
    print(task, labels[0]["label"], labels[0]["probability"])
`;
}

function triton({ name, tasks }) {
  const server = address("./").replace(/^https?:\/\//, "").replace(/\/$/, "");
  const secure = address("./").startsWith("https:") ? ", ssl=True" : "";
  return `import numpy as np
import tritonclient.http as triton

client = triton.InferenceServerClient(${quoted(server)}${secure})
image = triton.InferInput("image", [1, 1], "BYTES")
with open(${quoted(name)}, "rb") as picture:
    image.set_data_from_numpy(np.array([[picture.read()]], dtype=object))
best = triton.InferRequestedOutput("logits", class_count=1)
for task in [${tasks.map(quoted).join(", ")}]:
    logit, index, label = client.infer(task, [image], outputs=[best]).as_numpy("logits")[0, 0].decode().split(":", 2)
    print(task, label)
`;
}

export function showSnippets(name, path, tasks) {
  request = { name, path, tasks };
  find("copy").hidden = false;
  render();
}

function render() {
  if (request) find("snippet").firstChild.textContent = WAYS[way](request);
}

function choose(tab, focus) {
  way = tab.textContent;
  for (const other of find("tabs").children) {
    other.setAttribute("aria-selected", other === tab);
    other.tabIndex = other === tab ? 0 : -1;
  }
  find("snippet").setAttribute("aria-labelledby", tab.id);
  if (focus) tab.focus();
  render();
}

export function startSnippets() {
  const tabs = Object.keys(WAYS).map((name) => element(
    "button",
    { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "snippet" },
    name,
  ));
  find("tabs").replaceChildren(...tabs);
  tabs.forEach((tab, place) => {
    tab.onclick = () => choose(tab, false);
    tab.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) choose(tabs[(place + step + tabs.length) % tabs.length], true);
    };
  });
  choose(tabs[0], false);
  find("copy-button").onclick = copy;
}

async function copy() {
  const button = find("copy-button");
  const done = await put(find("snippet").textContent);
  button.textContent = done ? "Copied" : "Press Ctrl+C";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

// Over plain HTTP from another machine browsers offer no clipboard: the text is selected, ready for Ctrl+C.
async function put(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(find("snippet"));
    return false;
  }
}
