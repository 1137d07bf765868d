// The camera: one frame after another, and never a second request before the first is answered.

import { find } from "./element.js";

const LONGEST = 640; // pixels of a frame that is sent; backbones see less
const QUALITY = 0.9;

let stream = null;

export const isOn = () => stream !== null;

// `ask(blob)` resolves to the milliseconds to wait before the next frame; `changed(reason)` is called when the camera
// went on, with "", and when it went off by itself, with why.
export async function startCamera(ask, changed) {
  if (!navigator.mediaDevices?.getUserMedia) {
    changed("browsers give a page the camera only over https or from localhost");
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: LONGEST } } });
  } catch (error) {
    changed(error.name === "NotAllowedError" ? "this browser does not let the page use the camera" : "no camera was found");
    return;
  }
  stream.getVideoTracks()[0].addEventListener("ended", () => {
    stopCamera();
    changed("the camera was taken away");
  });
  changed("");
  await watch(stream, ask);
}

async function watch(opened, ask) {
  const video = find("video");
  video.srcObject = opened;
  await video.play();
  video.hidden = false;
  find("canvas").hidden = find("hint").hidden = true;
  while (stream === opened) {
    if (!document.hidden && video.videoWidth) {
      const frame = await grab(video);
      if (stream !== opened) break;
      await pause(await ask(frame));
    }
    await next();
  }
}

export function stopCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  find("video").hidden = true;
  find("video").srcObject = null;
}

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
const next = () => new Promise((resolve) => { requestAnimationFrame(resolve); });

function grab(video) {
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  const canvas = new OffscreenCanvas(Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale));
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
}
