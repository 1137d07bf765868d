// What the tasks say, side by side, and where the time went.

import { colourOf } from "./colours.js";
import { element } from "./element.js";
import { milliseconds, percent, plural } from "./format.js";

const STAGES = [
  ["read", "read"],
  ["preprocess", "decode"],
  ["queue", "queue"],
  ["infer", "model"],
];

// Cards are kept from one answer to the next, so that bars move and nothing flickers while a camera runs.
const cards = new Map();

export function showAnswers(place, tasks) {
  const names = Object.keys(tasks);
  for (const name of [...cards.keys()]) if (!names.includes(name)) cards.delete(name);
  place.replaceChildren(...names.map((name) => {
    const card = cards.get(name) ?? makeCard(name);
    cards.set(name, card);
    fillCard(card, tasks[name]);
    return card.root;
  }));
}

export function showNothing(place, names, why) {
  cards.clear();
  place.replaceChildren(...names.map((name) => makeCard(name, element("p", { class: "nothing" }, why)).root));
}

function makeCard(name, ...inside) {
  const list = element("ol", { class: "bars" });
  const heading = element("h3", {}, element("span", { class: "dot", "aria-hidden": "true" }), name);
  const body = inside.length ? inside : [list];
  return { root: element("article", { class: `card ${colourOf(name)}`, "aria-label": name }, heading, ...body), list };
}

function fillCard({ list }, labels) {
  while (list.children.length > labels.length) list.lastChild.remove();
  while (list.children.length < labels.length) list.append(makeBar());
  labels.forEach(({ label, probability }, row) => {
    const [text, share, track] = list.children[row].children;
    text.textContent = text.title = label;
    share.textContent = percent(probability);
    track.firstChild.style.setProperty("width", `${100 * probability}%`);
  });
}

function makeBar() {
  const track = element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: "level" }));
  return element("li", {}, element("span", { class: "label" }), element("span", { class: "share" }), track);
}

export function showTiming(place, { latency_ms: spent, batch, round }) {
  const known = STAGES.reduce((sum, [field]) => sum + spent[field], 0);
  const stages = [...STAGES.map(([field, word]) => [word, spent[field]]), ["rest", Math.max(0, spent.total - known)]];
  const bar = element("div", { class: "split", "aria-hidden": "true" }, ...stages.map(([word, value]) => element(
    "span",
    { class: `stage ${word}`, style: { "flex-grow": Math.max(value, 0.001) } },
  )));
  const parts = stages.map(([word, value]) => element(
    "div",
    {},
    element("dt", {}, element("span", { class: `key ${word}`, "aria-hidden": "true" }), word),
    element("dd", {}, milliseconds(value)),
  ));
  const rode = batch.rows
    ? `rode in a batch of ${plural(batch.rows, "row")}: ${plural(batch.images, "image")}, ${plural(batch.tasks, "task")}`
    : "was answered before: nothing was decoded, and no model ran";
  place.replaceChildren(
    element("p", { class: "whole" }, element("strong", {}, milliseconds(spent.total)), ` in the server, ${milliseconds(round)} for this browser`),
    bar,
    element("dl", {}, ...parts),
    element("p", { class: "batch" }, rode),
  );
  place.hidden = false;
}

export const spoken = (tasks) => Object.entries(tasks)
  .map(([name, [first]]) => `${name}: ${first.label}, ${Math.round(100 * first.probability)} percent`)
  .join("; ");
