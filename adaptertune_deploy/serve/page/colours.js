// Each task has one colour wherever it appears; page.css holds the values for light and dark.

export const COLOURS = 6;

let order = [];

export function setOrder(names) {
  order = names;
}

export const colourOf = (name) => `hue-${Math.max(0, order.indexOf(name)) % COLOURS}`;
