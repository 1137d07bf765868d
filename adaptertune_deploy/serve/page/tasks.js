// The tasks: which of them answer, what each is, and pictures to try.

import { colourOf } from "./colours.js";
import { element, find } from "./element.js";
import { bytes, percent, plural } from "./format.js";

const MANY = 12;
const MOST_SAMPLES = 7;

export const chosen = () => [...find("chips").querySelectorAll("input:checked")].map((box) => box.value);

// Offer every task, those in `on` ticked; `changed` is called when a person changes that.
export function showChooser(names, on, changed) {
  find("chips").replaceChildren(...names.map((name) => element(
    "label",
    { class: `chip ${colourOf(name)}` },
    element("input", { type: "checkbox", value: name, checked: on.has(name) }),
    element("span", {}, name),
  )));
  find("chips").onchange = changed;
  find("find").hidden = names.length <= MANY;
  const search = find("find").querySelector("input");
  search.oninput = () => {
    for (const chip of find("chips").children) chip.hidden = !chip.textContent.includes(search.value.trim());
  };
}

export function showSamples(tasks, ask) {
  const held = Object.entries(tasks).map(([task, { samples = [] }]) => samples.map((sample) => ({ ...sample, task })));
  const turns = [];
  for (let round = 0; turns.length < MOST_SAMPLES && held.some((samples) => samples[round]); round += 1) {
    turns.push(...held.flatMap((samples) => samples[round] ?? []));
  }
  find("samples").hidden = !turns.length;
  find("sample-list").replaceChildren(...turns.slice(0, MOST_SAMPLES).map((sample) => {
    const words = `${sample.task}: ${sample.label}`;
    const button = element("button", { type: "button", title: words }, element("img", { src: sample.path, alt: words, width: 56, height: 56 }));
    button.onclick = () => ask(sample);
    return element("li", {}, button);
  }));
}

const COLUMNS = ["Task", "Classes", "Adapter", "Trained on", "Accuracy, 95 % interval", "Size"];

export function showTable(tasks) {
  const cell = (column, attributes, ...children) => element("td", { role: "cell", "data-column": COLUMNS[column], ...attributes }, ...children);
  const head = element("tr", { role: "row" }, ...COLUMNS.map((name) => element("th", { role: "columnheader", scope: "col" }, name)));
  const rows = Object.entries(tasks).map(([name, task]) => element(
    "tr",
    { role: "row", class: colourOf(name) },
    element("th", { role: "rowheader", scope: "row" }, element("span", { class: "dot", "aria-hidden": "true" }), name),
    cell(1, { class: "number" }, task.classes.toLocaleString("en")),
    cell(2, {}, task.rank ? `rank ${task.rank}, ${plural(task.blocks.length, "block")}` : "head only"),
    cell(3, {}, task.accuracy?.dataset ?? "not recorded"),
    cell(4, {}, accuracy(task.accuracy)),
    cell(5, { class: "number" }, task.bytes ? bytes(task.bytes) : "not recorded"),
  ));
  find("tasks").replaceChildren(
    element("thead", { role: "rowgroup" }, head),
    element("tbody", { role: "rowgroup" }, ...rows),
  );
}

function accuracy(found) {
  if (!found) return "not recorded";
  const band = element("span", { class: "band", style: { left: `${100 * found.low}%`, width: `${100 * (found.high - found.low)}%` } });
  const point = element("span", { class: "point", style: { left: `${100 * found.top1}%` } });
  return element(
    "span",
    { class: "accuracy" },
    element("span", { class: "top1" }, percent(found.top1)),
    element("span", { class: "scale", "aria-hidden": "true" }, band, point),
    element("span", { class: "of" }, `${(100 * found.low).toFixed(1)} to ${(100 * found.high).toFixed(1)}, ${plural(found.images, "image")}`),
  );
}
