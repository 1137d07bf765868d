// The camera: one frame after another, and never a second request before the first is answered.

import { find } from "./element.js";

const LONGEST = 640; // pixels of a frame that is sent; backbones see less
const QUALITY = 0.9;

let turn = 0; // one more for every start and every stop: what belongs to an older one ends by itself
let on = false;
let stream = null;

export const isOn = () => on;

// `ask(blob)` resolves to the milliseconds to wait before the next frame; `changed(reason)` is called when the camera
// goes on, with "", and when it goes off by itself, with why.
export async function startCamera(ask, changed) {
  if (!navigator.mediaDevices?.getUserMedia) {
    changed("browsers give a page the camera only over https or from localhost");
    return;
  }
  const mine = turn += 1;
  on = true;
  changed("");
  try {
    const opened = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: LONGEST } } });
    if (mine !== turn) {
      end(opened);
      return;
    }
    stream = opened;
  } catch (error) {
    if (mine !== turn) return;
    on = false;
    changed(error.name === "NotAllowedError" ? "this browser does not let the page use the camera" : "no camera was found");
    return;
  }
  stream.getVideoTracks()[0].addEventListener("ended", () => {
    stopCamera();
    changed("the camera was taken away");
  });
  await watch(mine, ask);
}

async function watch(mine, ask) {
  const video = find("video");
  video.srcObject = stream;
  await video.play().catch(() => {}); // stopped before it began
  if (mine !== turn) return;
  video.hidden = false;
  find("canvas").hidden = find("hint").hidden = true;
  while (mine === turn) {
    if (!document.hidden && video.videoWidth) {
      const frame = await grab(video);
      if (mine !== turn) return;
      await pause(await ask(frame));
    }
    await next();
  }
}

export function stopCamera() {
  turn += 1;
  on = false;
  end(stream);
  stream = null;
  find("video").hidden = true;
  find("video").srcObject = null;
}

function end(opened) {
  for (const track of opened?.getTracks() ?? []) track.stop();
}

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
const next = () => new Promise((resolve) => { requestAnimationFrame(resolve); });

function grab(video) {
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  const canvas = new OffscreenCanvas(Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale));
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
}
