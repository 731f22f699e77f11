// The page: puts pictures, questions and answers together.

import { ServerError, ask, code, key, models } from "./client.js";
import { Camera, ChangeDetector, fromFile, fromVideo, largestFile, thumbnail } from "./picture.js";
import { History, StageBar, milliseconds, parts } from "./runs.js";

const $ = (id) => document.getElementById(id);
const camera = new Camera();
const changes = new ChangeDetector();
const bar = new StageBar({ bar: $("bar"), words: $("bar-words"), legend: $("legend"), total: $("total") });
const history = new History({ list: $("history"), none: $("no-history"), clear: $("clear") }, showRun);

let served = [];
let size = 0; // pixels per side that pictures are brought to
let file = null; // { name, data } of the chosen image
let choices = 0; // of two quick ones the later counts
let running = null; // AbortController of the request under way
let notBefore = 0; // when a server that is full may be asked again

const source = () => document.querySelector("input[name=source]:checked").value;

function alertUser(text) {
  $("alert").textContent = text;
  $("alert").hidden = !text;
}

// Models

async function loadModels() {
  try {
    served = await models();
    $("key-form").hidden = true;
    alertUser("");
  } catch (error) {
    if (error.status === 401) {
      $("key-form").hidden = false;
      if (key.value) alertUser(error.message);
      $("key").focus();
      return;
    }
    alertUser(error instanceof ServerError ? error.message : "The server cannot be reached. Is it still running?");
    return;
  }
  const select = $("model");
  const chosen = select.value;
  select.replaceChildren(...served.map((model) => new Option(model.id, model.id)));
  if (served.some((model) => model.id === chosen)) select.value = chosen;
  select.disabled = served.length < 2;
  showSizes();
}

/** What the model allows, of the sides that the paper compares: the knob between speed and small things. */
function possibleSizes(meta) {
  if (!meta?.image_size_step) return [];
  const sides = [256, 512, 768, 1024].filter((side) => side % meta.image_size_step === 0 && side <= meta.largest_image_size);
  return [...new Set([...sides, meta.image_size])].sort((a, b) => a - b);
}

function showSizes() {
  const meta = served.find((model) => model.id === $("model").value)?.meta;
  const sizes = possibleSizes(meta);
  if (!sizes.includes(size)) size = meta?.image_size ?? 0;
  $("sizes").hidden = sizes.length < 2;
  const tokens = Math.round((meta?.n_image_tokens ?? 0) * (size / meta?.image_size) ** 2);
  $("size-note").textContent = [sizes.length < 2 && size ? `${size} × ${size} pixels` : "", tokens ? `${tokens} visual tokens` : ""]
    .filter(Boolean).join(", ");
  $("sizes").replaceChildren($("sizes").firstElementChild, ...sizes.map((pixels) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), {
      type: "radio", name: "size", value: pixels, checked: size === pixels,
    });
    input.addEventListener("change", () => {
      size = pixels;
      showSizes();
      $("sizes").querySelector("input:checked")?.focus();
      // What it does is seen at once.
      if (hasPicture() && !running) run();
    });
    const words = document.createElement("span");
    words.textContent = pixels;
    label.append(input, words);
    return label;
  }));
  showCode();
}

// Pictures

const hasPicture = () => (source() === "camera" ? camera.isOn : file !== null);

async function chooseFile(chosen) {
  if (!chosen) return;
  if (chosen.size > largestFile) {
    alertUser(`${chosen.name} has ${Math.round(chosen.size / 1048576)} MB; at most ${largestFile >> 20} are sent.`);
    return;
  }
  const choice = ++choices;
  try {
    const data = await fromFile(chosen);
    if (choice !== choices) return;
    file = { name: chosen.name, data };
  } catch (error) {
    alertUser(error.message);
    return;
  }
  alertUser("");
  await useSource("file");
  const preview = $("preview");
  URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(chosen);
  preview.alt = chosen.name;
  preview.hidden = false;
  $("drop-words").hidden = true;
  $("drop").classList.add("filled");
  try {
    await preview.decode();
  } catch {
    // HEIC and TIFF: the browser cannot, the server can.
    preview.hidden = true;
    $("drop-words").hidden = false;
    $("drop-words").textContent = `${chosen.name} (this browser cannot show it; the server reads it)`;
  }
  $("status").textContent = `${chosen.name} is chosen.`;
  showCode();
}

async function useSource(name) {
  document.querySelector(`input[name=source][value=${name}]`).checked = true;
  $("file-panel").hidden = name !== "file";
  $("camera-panel").hidden = name !== "camera";
  if (name === "file") {
    camera.stop($("video"));
    return;
  }
  if (camera.isOn) return;
  await startCamera("");
}

async function startCamera(deviceId) {
  const words = $("camera-words");
  $("video").hidden = true;
  words.hidden = false;
  words.textContent = "Allow the camera when the browser asks.";
  changes.forget();
  try {
    const isOn = await camera.start($("video"), deviceId, () => {
      camera.stop($("video"));
      $("video").hidden = true;
      words.hidden = false;
      words.textContent = "The camera is gone. Connect it and choose Camera again.";
    });
    if (!isOn) return;
  } catch (error) {
    words.textContent = error.message;
    return;
  }
  words.hidden = true;
  $("video").hidden = false;
  $("video").parentElement.classList.add("filled");
  $("mirror").checked = !camera.looksAway;
  mirror();
  const devices = await Camera.devices();
  $("device").replaceChildren(...devices.map((device, i) => new Option(device.label || `Camera ${i + 1}`, device.deviceId)));
  $("device").value = camera.deviceId;
  $("device").disabled = devices.length < 2;
  showCode();
}

const mirror = () => $("video").classList.toggle("mirrored", $("mirror").checked);

// Asking

function request() {
  const own = served.find((model) => model.id === $("model").value)?.meta?.image_size;
  return {
    model: $("model").value,
    size,
    // The model's own need not be said.
    resolution: size && size !== own ? size : undefined,
    question: $("question").value.trim(),
    maxTokens: Math.max(1, Math.round(Number($("max-tokens").value)) || 200),
    temperature: Math.min(2, Math.max(0, Number($("temperature").value) || 0)),
  };
}

async function run() {
  if (running) return;
  const asked = request();
  const fromCamera = source() === "camera";
  if (!asked.question) {
    alertUser("Write a question.");
    $("question").focus();
    return;
  }
  if (!hasPicture()) {
    alertUser(fromCamera ? "The camera is not on." : "Choose an image first.");
    return;
  }
  alertUser("");
  running = new AbortController();
  const control = running;
  $("ask").disabled = true;
  $("stop").disabled = false;
  const answer = $("answer");
  answer.textContent = "";
  answer.setAttribute("aria-busy", "true");
  $("speed").textContent = "";
  $("status").textContent = "Asking …";
  let firstToken = 0;
  try {
    const small = thumbnail(fromCamera ? $("video") : $("preview"));
    asked.picture = fromCamera ? fromVideo($("video")) : file.data;
    bar.start();
    const end = await ask(asked, control.signal, {
      stage: (name) => bar.stage(name),
      text(part) {
        if (!firstToken) {
          firstToken = bar.firstToken();
          $("status").textContent = "";
        }
        answer.append(part);
      },
    });
    firstToken ||= bar.firstToken();
    finish(asked, end, firstToken, small);
  } catch (error) {
    bar.stop();
    if (control.signal.aborted) {
      $("status").textContent = "Stopped";
    } else {
      $("status").textContent = "";
      failed(error);
    }
  } finally {
    answer.setAttribute("aria-busy", "false");
    $("ask").disabled = false;
    $("stop").disabled = true;
    running = null;
  }
}

function finish(asked, end, firstToken, small) {
  const list = parts(end.timings, firstToken);
  const done = {
    model: asked.model, size: asked.size, question: asked.question, answer: $("answer").textContent, thumbnail: small,
    parts: list, firstToken, speed: speedWords(end),
  };
  history.add(done);
  showTimes(done);
  // What a model is like is known once it was loaded.
  if (!served.find((model) => model.id === asked.model)?.meta?.image_size) loadModels();
  $("status").textContent = end.reason === "length" ? "Cut off at the most tokens (Options)" : "Done";
}

function speedWords({ timings, usage }) {
  const words = [];
  if (usage) words.push(`${usage.prompt_tokens} + ${usage.completion_tokens} tokens`);
  const remembered = usage?.prompt_tokens_details?.cached_tokens;
  if (remembered) words.push(`${remembered} remembered`);
  if (timings?.predicted_per_second) words.push(`${timings.predicted_per_second.toFixed(1)} tokens/s`);
  return words.join(" · ");
}

function showTimes(done) {
  bar.show(done.parts, done.firstToken);
  $("speed").textContent = done.speed;
}

function showRun(done) {
  if (running) return;
  $("question").value = done.question;
  $("answer").textContent = done.answer;
  showTimes(done);
  showCode();
}

function failed(error) {
  if (error.status === 401) {
    $("key-form").hidden = false;
    $("key").focus();
  }
  if (error.wait) notBefore = performance.now() + 1000 * error.wait;
  // A full server is asked again by itself in continuous mode; all else needs somebody.
  if (error.status !== 429 && error.status !== 503) $("continuous").checked = false;
  alertUser(error instanceof ServerError ? error.message : "The server cannot be reached. Is it still running?");
}

/** Asks again for a picture that changed, one request at a time. */
function watch() {
  if (!$("continuous").checked || source() !== "camera" || !camera.isOn || document.hidden || running) return;
  if (performance.now() < notBefore || !$("question").value.trim()) return;
  if (!changes.look($("video"))) {
    $("status").textContent = "Waiting for the picture to change";
    return;
  }
  changes.keep();
  run();
}

// The request as code

function showCode() {
  const language = document.querySelector("input[name=language]:checked").value;
  $("code-text").textContent = code(language, request(), source() === "file" ? file?.name : "photo.jpg");
}

async function copyCode() {
  const text = $("code-text").textContent;
  try {
    await navigator.clipboard.writeText(text);
    $("status").textContent = "Copied";
  } catch {
    // No clipboard for pages of another machine without HTTPS: leave it to the keyboard.
    getSelection().selectAllChildren($("code-text"));
    $("status").textContent = "Selected; press Ctrl+C";
  }
}

// Events

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.value = $("key").value.trim();
  loadModels();
});
$("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    run();
  }
});
$("question").addEventListener("input", () => {
  changes.forget();
  showCode();
});
for (const id of ["max-tokens", "temperature"]) $(id).addEventListener("input", showCode);
$("stop").addEventListener("click", stop);
addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
});

function stop() {
  $("continuous").checked = false;
  running?.abort();
}

$("model").addEventListener("change", showSizes);
$("file").addEventListener("change", () => {
  chooseFile($("file").files[0]);
  $("file").value = ""; // the same file may be chosen again
});
for (const radio of document.querySelectorAll("input[name=source]")) {
  radio.addEventListener("change", () => useSource(radio.value));
}
$("device").addEventListener("change", () => startCamera($("device").value));
$("mirror").addEventListener("change", mirror);
$("continuous").addEventListener("change", () => changes.forget());
addEventListener("paste", (event) => {
  const item = [...event.clipboardData.items].find((each) => each.kind === "file" && each.type.startsWith("image/"));
  if (!item) return;
  event.preventDefault();
  chooseFile(item.getAsFile());
});
// Everywhere: a picture that misses the field must not replace the page.
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  chooseFile(event.dataTransfer.files[0]);
});
for (const radio of document.querySelectorAll("input[name=language]")) radio.addEventListener("change", showCode);
$("copy").addEventListener("click", copyCode);
addEventListener("pagehide", () => camera.stop($("video")));

setInterval(watch, 150);
showCode();
loadModels();
