// The idea as it is on this server: one backbone, after whose blocks each task has its adapters, and a head for each.

import { colourOf } from "./colours.js";
import { drawn, element } from "./element.js";
import { bytes, plural } from "./format.js";

const MOST_TASKS = 5;
const MOST_BLOCKS = 24;
const ROW = 30;
// Where the blocks begin and end, in units of which one is a pixel at that width.
const WIDE = { width: 530, left: 92, right: 352 };
const NARROW = { width: 360, left: 76, right: 196 };
const NARROW_BELOW = 460; // pixels

export function draw(figure, facts) {
  const names = Object.keys(facts.tasks);
  const shown = names.length > MOST_TASKS ? names.slice(0, MOST_TASKS - 1) : names;
  const rows = shown.length + (names.length > shown.length ? 1 : 0);
  const height = Math.max(132, rows * ROW + 20);
  const middle = height / 2;
  const at = figure.clientWidth < NARROW_BELOW ? NARROW : WIDE;
  const svg = drawn("svg", { viewBox: `0 0 ${at.width} ${height}`, "aria-hidden": "true" });
  svg.append(...picture(at, middle), ...outgoing(at, shown, facts, names.length, middle), ...backbone(at, shown, facts, middle));
  figure.replaceChildren(svg, element("figcaption", {}, caption(facts)));
}

function caption(facts) {
  const { backbone, form } = facts;
  if (!backbone) return `${plural(Object.keys(facts.tasks).length, "task")}, ${form} form`;
  const size = backbone.bytes ? `, ${bytes(backbone.bytes)}, frozen` : ", frozen";
  return `${backbone.name}: ${plural(backbone.blocks, "block")}${size}. Each dot is one adapter.`;
}

function picture(at, middle) {
  const top = middle - 26;
  return [
    drawn("rect", { class: "frame", x: 6, y: top, width: 52, height: 52, rx: 6 }),
    drawn("path", { class: "hills", d: `M11 ${top + 43} l14 -19 9 11 7 -8 12 16 z` }),
    drawn("circle", { class: "sun", cx: 42, cy: top + 15, r: 4.5 }),
    drawn("line", { class: "way", x1: 62, y1: middle, x2: at.right + 6, y2: middle }),
  ];
}

function backbone(at, shown, facts, middle) {
  const depth = facts.backbone?.blocks ?? 12;
  const count = Math.min(depth, MOST_BLOCKS);
  const step = (at.right - at.left) / count;
  const parts = [];
  for (let place = 0; place < count; place += 1) {
    const x = at.left + place * step;
    parts.push(drawn("rect", { class: "block", x, y: middle - 46, width: step * 0.5, height: 92, rx: Math.min(3, step / 6) }));
  }
  const gap = Math.min(15, 84 / Math.max(1, shown.length));
  const radius = Math.min(3.6, step * 0.2, gap * 0.4);
  shown.forEach((name, row) => {
    for (const block of facts.tasks[name].blocks) {
      const place = Math.floor((block * count) / depth);
      const y = middle + (row - (shown.length - 1) / 2) * gap;
      parts.push(drawn("circle", { class: `adapter ${colourOf(name)}`, cx: at.left + (place + 0.75) * step, cy: y, r: radius }));
    }
  });
  return parts;
}

function outgoing(at, shown, facts, total, middle) {
  const rows = total > shown.length ? [...shown, null] : shown;
  return rows.flatMap((name, row) => {
    const y = middle + (row - (rows.length - 1) / 2) * ROW;
    const path = `M${at.right + 4} ${middle} C ${at.right + 36} ${middle}, ${at.right + 20} ${y}, ${at.right + 52} ${y}`;
    if (name === null) {
      return [drawn("path", { class: "fan", d: path }), drawn("text", { x: at.right + 62, y: y + 5 }, `and ${total - shown.length} more`)];
    }
    const text = drawn("text", { x: at.right + 64, y: y + 5 }, short(name));
    text.append(drawn("tspan", { class: "count", dx: 7 }, facts.tasks[name].classes));
    const hue = colourOf(name);
    return [
      drawn("path", { class: `fan ${hue}`, d: path }),
      drawn("circle", { class: `adapter ${hue}`, cx: at.right + 54, cy: y, r: 4.5 }),
      text,
    ];
  });
}

const short = (name) => (name.length > 14 ? `${name.slice(0, 13)}…` : name);
