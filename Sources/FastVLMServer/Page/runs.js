// Where the time to the first token went, as a bar with its numbers, and the last runs.

const stages = [
  ["queue", "Queue", "queue_ms"],
  ["decode", "Decode", "decode_image_ms"],
  ["preprocess", "Preprocess", "preprocess_ms"],
  ["encode", "Encode", "encode_ms"],
  ["project", "Project", "project_ms"],
  ["prefill", "Prefill", "prefill_ms"],
];
const mostRuns = 12;

export const milliseconds = (value) =>
  value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

/** The parts of a time to first token that the browser measured: the server's stages, and what is left. */
export function parts(timings, firstToken) {
  const list = [];
  let known = 0;
  for (const [name, label, field] of stages) {
    const value = timings?.[field];
    if (typeof value !== "number" || (value === 0 && name === "queue")) continue;
    list.push({ name, label, value });
    known += value;
  }
  list.push({ name: "other", label: "Transfer", value: Math.max(0, firstToken - known) });
  return list;
}

/** Fills a bar; `whole` is the value of its full width. */
function fill(bar, list, whole) {
  bar.replaceChildren(...list.filter((part) => part.value > 0).map((part) => {
    const piece = element("i", part.name);
    piece.style.width = `${100 * part.value / whole}%`;
    piece.title = `${part.label}: ${milliseconds(part.value)}`;
    return piece;
  }));
}

/** The bar of the present run: grows while it is waited for, then shows the server's figures. */
export class StageBar {
  #elements;
  #timer = 0;
  #began = 0;
  #stages = [];
  #scale = 100;

  constructor(elements) { this.#elements = elements; }

  start() {
    this.#began = performance.now();
    this.#stages = [{ name: "other", label: "Sending", from: 0 }];
    this.#elements.legend.replaceChildren();
    this.#elements.words.textContent = "Waiting for the first token.";
    cancelAnimationFrame(this.#timer);
    this.#draw();
  }

  /** The server says where it is. */
  stage(name) {
    const known = stages.find(([own]) => own === name);
    if (!known || this.#stages.at(-1)?.name === known[0] || !this.#timer) return;
    this.#stages.push({ name: known[0], label: known[1], from: performance.now() - this.#began });
  }

  #draw = () => {
    const now = performance.now() - this.#began;
    this.#scale = Math.max(this.#scale, now * 1.15);
    this.#elements.total.textContent = milliseconds(now);
    fill(this.#elements.bar, this.#stages.map((stage, i) => (
      { ...stage, value: (this.#stages[i + 1]?.from ?? now) - stage.from })), this.#scale);
    this.#elements.bar.lastElementChild?.classList.add("waiting");
    this.#timer = requestAnimationFrame(this.#draw);
  };

  /** @returns milliseconds since the start */
  firstToken() {
    const time = performance.now() - this.#began;
    this.stop();
    this.#elements.total.textContent = milliseconds(time);
    return time;
  }

  stop() {
    cancelAnimationFrame(this.#timer);
    this.#timer = 0;
    for (const piece of this.#elements.bar.children) piece.classList.remove("waiting");
  }

  show(list, firstToken) {
    this.#scale = Math.max(firstToken, 1);
    this.#elements.total.textContent = milliseconds(firstToken);
    fill(this.#elements.bar, list, this.#scale);
    this.#elements.words.textContent = `${milliseconds(firstToken)}: ${
      list.map((part) => `${part.label} ${milliseconds(part.value)}`).join(", ")}.`;
    this.#elements.legend.replaceChildren(...list.map((part) => {
      const row = element("div");
      row.append(element("i", part.name), element("dt", "", part.label), element("dd", "", milliseconds(part.value)));
      return row;
    }));
  }
}

/** The last runs, newest first, their bars on one scale. */
export class History {
  #elements;
  #runs = [];
  #choose;

  constructor(elements, choose) {
    this.#elements = elements;
    this.#choose = choose;
    elements.clear.addEventListener("click", () => {
      this.#runs = [];
      this.#draw();
    });
  }

  add(run) {
    this.#runs = [run, ...this.#runs].slice(0, mostRuns);
    this.#draw();
  }

  #draw() {
    const longest = Math.max(1, ...this.#runs.map((run) => run.firstToken));
    this.#elements.list.replaceChildren(...this.#runs.map((run) => {
      const button = element("button");
      button.type = "button";
      const image = element("img");
      image.alt = "";
      if (run.thumbnail) image.src = run.thumbnail;
      const words = element("span");
      words.append(element("b", "", run.question), element("em", "", run.answer));
      const bar = element("span", "bar small");
      fill(bar, run.parts, longest);
      button.append(image, words, bar, element("span", "time", milliseconds(run.firstToken)));
      button.title = `${run.model}${run.size ? `, ${run.size} pixels` : ""}\n${run.answer}`;
      button.addEventListener("click", () => this.#choose(run));
      const item = element("li");
      item.append(button);
      return item;
    }));
    this.#elements.none.hidden = this.#runs.length > 0;
    this.#elements.clear.hidden = this.#runs.length === 0;
  }
}
