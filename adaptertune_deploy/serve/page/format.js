// Numbers as people read them.

const UNITS = ["bytes", "kB", "MB", "GB"];

export function bytes(count) {
  let unit = 0;
  while (count >= 1000 && unit < UNITS.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit && count < 10 ? count.toFixed(1) : Math.round(count)}\u00a0${UNITS[unit]}`;
}

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}\u00a0%`;
export const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)}\u00a0ms`;
export const plural = (count, word) => `${count.toLocaleString("en")}\u00a0${word}${count === 1 ? "" : "s"}`;

