// Where pictures come from: files, the clipboard, the camera.

/** Cameras give what their driver likes; more than this the model never sees. */
const longestSide = 1280;
export const largestFile = 20 << 20;

/** A file as it is: the server knows more formats than a browser and turns photos upright by itself. */
export function fromFile(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(file);
  });
}

/** What the camera sees now, unmirrored, as a JPEG data address. */
export function fromVideo(video) {
  const scale = Math.min(1, longestSide / Math.max(video.videoWidth, video.videoHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.9);
}

/** A small picture for the history; empty where the browser cannot show the format. */
export function thumbnail(source) {
  const width = source.videoWidth || source.naturalWidth;
  const height = source.videoHeight || source.naturalHeight;
  if (!width || !height) return "";
  const canvas = document.createElement("canvas");
  canvas.width = 112;
  canvas.height = 84;
  const scale = Math.max(canvas.width / width, canvas.height / height);
  canvas.getContext("2d").drawImage(
    source, (canvas.width - width * scale) / 2, (canvas.height - height * scale) / 2, width * scale, height * scale);
  return canvas.toDataURL("image/jpeg", 0.7);
}

/** Says whether a picture differs from the last one that was kept, by small grey copies of both. */
export class ChangeDetector {
  static side = 24;
  static threshold = 7; // mean difference of 255 levels; the noise of a camera is about 2
  #canvas = document.createElement("canvas");
  #kept = null;
  #latest = null;

  constructor() {
    this.#canvas.width = this.#canvas.height = ChangeDetector.side;
  }

  look(video) {
    const side = ChangeDetector.side;
    const context = this.#canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0, side, side);
    const pixels = context.getImageData(0, 0, side, side).data;
    const grey = new Float32Array(side * side);
    for (let i = 0; i < grey.length; i++) {
      grey[i] = 0.299 * pixels[4 * i] + 0.587 * pixels[4 * i + 1] + 0.114 * pixels[4 * i + 2];
    }
    this.#latest = grey;
    if (!this.#kept) return true;
    let sum = 0;
    for (let i = 0; i < grey.length; i++) sum += Math.abs(grey[i] - this.#kept[i]);
    return sum / grey.length > ChangeDetector.threshold;
  }

  keep() { this.#kept = this.#latest; }
  forget() { this.#kept = null; }
}

/** The camera; `stop` gives it back. */
export class Camera {
  #stream = null;
  #starts = 0;

  get isOn() { return this.#stream !== null; }
  /** A camera that looks at the user is a mirror; one that looks away is not. */
  get looksAway() { return this.#stream?.getVideoTracks()[0]?.getSettings().facingMode === "environment"; }
  get deviceId() { return this.#stream?.getVideoTracks()[0]?.getSettings().deviceId ?? ""; }

  /**
   * Shows the camera in `video`. Throws an Error whose message says what to do.
   * @returns whether it is this one that is on, and not one that was started or stopped meanwhile
   */
  async start(video, deviceId, whenLost) {
    this.stop(video);
    const start = this.#starts;
    if (!navigator.mediaDevices?.getUserMedia) throw new Error(forbidden());
    const wanted = { width: { ideal: 1280 }, height: { ideal: 720 } };
    if (deviceId) wanted.deviceId = { exact: deviceId };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    } catch (error) {
      if (start !== this.#starts) return false;
      throw new Error(explanation(error));
    }
    if (start !== this.#starts) {
      for (const track of stream.getTracks()) track.stop();
      return false;
    }
    this.#stream = stream;
    stream.getVideoTracks()[0].addEventListener("ended", whenLost);
    video.srcObject = stream;
    await video.play();
    return start === this.#starts;
  }

  stop(video) {
    this.#starts += 1;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    video.srcObject = null;
  }

  static async devices() {
    const all = await navigator.mediaDevices.enumerateDevices();
    return all.filter((device) => device.kind === "videoinput");
  }
}

function forbidden() {
  const port = location.port || "80";
  return "The browser gives cameras only to pages of this computer or over HTTPS. On the machine that runs the server "
    + `open http://localhost:${port}. From another one, forward the port with `
    + `ssh -L ${port}:localhost:${port} ${location.hostname}, or put the server behind HTTPS.`;
}

function explanation(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "The camera is blocked. Allow it for this page (the icon beside the address) and choose Camera again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No camera was found. Connect one and choose Camera again.";
    case "NotReadableError":
      return "The camera is in use by another program. Close that and choose Camera again.";
    default:
      return `The camera cannot be used: ${error.message || error.name}.`;
  }
}
