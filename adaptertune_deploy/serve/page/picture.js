// A picture from a file, a drop, the clipboard or a sample, shown where people look for it.

import { find } from "./element.js";

const LONGEST_SHOWN = 1024; // pixels
const SMALL = 96; // pixels; below it pixels are shown as squares

const named = (blob, fallback) => blob.name || `${fallback}.${(blob.type.split("/")[1] || "png").replace("jpeg", "jpg").replace(/\W.*/, "")}`;
const imageIn = (transfer) => [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? transfer?.files?.[0];

// Call `ask(blob, name)` for every picture that a person brings; `taken` says that a drop is something else's.
export function startPicture(ask, taken) {
  find("pick").onclick = () => find("file").click();
  find("file").onchange = ({ target }) => {
    const [file] = target.files;
    if (file) ask(file, file.name);
    target.value = ""; // so that the same file can be chosen again
  };
  addEventListener("paste", (event) => {
    const file = imageIn(event.clipboardData);
    if (file) ask(file, named(file, "pasted"));
  });
  let depth = 0; // of elements under a dragged file
  const mark = (by) => {
    depth = Math.max(0, depth + by);
    find("drop").classList.toggle("over", depth > 0);
  };
  addEventListener("dragenter", () => mark(1));
  addEventListener("dragleave", () => mark(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault(); // else the browser leaves the page for the file
    mark(-depth);
    if (taken(event.dataTransfer)) return;
    const file = imageIn(event.dataTransfer);
    if (file) ask(file, named(file, "dropped"));
  });
}

// Draw a picture; false where this browser can't, though the server might know the format.
export async function showPicture(blob, name) {
  const canvas = find("canvas");
  find("hint").hidden = true;
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    canvas.hidden = true;
    return false;
  }
  const scale = Math.min(1, LONGEST_SHOWN / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  canvas.classList.toggle("coarse", Math.max(canvas.width, canvas.height) <= SMALL);
  canvas.setAttribute("aria-label", `The picture: ${name}`);
  canvas.hidden = false;
  return true;
}

export function showTrouble(text) {
  const place = find("trouble");
  place.textContent = text ? sentence(text) : "";
  place.hidden = !text;
}

export const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
