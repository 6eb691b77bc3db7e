// The panel that shows which events there were and what became of them, and the question for consent.

import { App } from "./app.js";

const MOST = 200;
const ASK_AFTER_MS = 1500; // since the last event was stored: the app needs a moment to make rows of them
const ARRIVED = new Set(["stored", "row"]);

export class Panel {
  #key;
  #entries;
  #manager;
  #painting = null;
  #app;
  #asking = null;

  constructor(manager, { shop, app }) {
    this.#manager = manager;
    this.#app = new App(app);
    this.#key = `sandbox.${shop.myshopifyDomain}.panel`;
    this.#entries = JSON.parse(sessionStorage.getItem(this.#key)) ?? [];
    manager.addEventListener("event", ({ detail: { event, state } }) => this.#note(event, state));
    manager.addEventListener("sent", ({ detail: { ids, state } }) => this.#mark(ids, state));
    manager.addEventListener("failed", ({ detail }) => this.#say(`The pixel cannot run: ${detail.message}`));
    manager.addEventListener("loaded", () => (document.body.dataset.pixel = "loaded"));
    manager.addEventListener("decided", ({ detail: { answer } }) => this.#decided(answer));
    document.querySelector("#clear").addEventListener("click", () => this.#clear());
    this.#listen();
    this.#ask();
    this.#draw();
  }

  #listen() {
    for (const answer of ["accepted", "declined"]) {
      document.querySelector(`#${answer}`).addEventListener("click", () => this.#manager.decide(answer));
    }
    document.querySelector("#activate")?.addEventListener("click", () => this.#activate());
    document.querySelector("#privacy").addEventListener("click", () => (document.querySelector("#banner").hidden = false));
  }

  #ask() {
    document.querySelector("#banner").hidden = this.#manager.consent !== null;
    document.querySelector("#choice").textContent = this.#manager.consent ?? "not asked yet";
  }

  /** Events that the app does not have when the shopper declines are forgotten. */
  #decided(answer) {
    for (const entry of this.#entries) {
      if (answer === "declined" && !ARRIVED.has(entry.state) && entry.state !== "no pixel") entry.state = "declined";
    }
    this.#draw();
    this.#ask();
  }

  #note({ id, name, seq, type }, state) {
    const known = this.#entries.find((entry) => entry.id === id);
    if (known) known.state = state;
    else this.#entries = [{ id, name, seq, type, state }, ...this.#entries].slice(0, MOST);
    this.#draw();
  }

  #mark(ids, state) {
    for (const entry of this.#entries) {
      if (ids.includes(entry.id) && !ARRIVED.has(entry.state)) entry.state = state;
    }
    this.#draw();
    if (state === "stored") this.#askSoon();
  }

  async #activate() {
    const problem = await this.#app.activatePixel();
    if (problem) this.#say(`The app does not activate its pixel: ${problem}`);
    else location.reload();
  }

  #askSoon() {
    clearTimeout(this.#asking);
    this.#asking = setTimeout(async () => this.#count(await this.#app.eventsOf(this.#manager.clientId)), ASK_AFTER_MS);
  }

  /** Tells how many rows the app has, and marks the events that are among them. */
  #count(rows) {
    const line = document.querySelector("#rows");
    line.hidden = rows === null;
    if (rows === null) return;
    line.textContent = `${rows.length} rows of this visitor in the app's tables`;
    const ids = new Set(rows.map((row) => row.id));
    for (const entry of this.#entries) if (ids.has(entry.id)) entry.state = "row";
    this.#draw();
  }

  #clear() {
    this.#entries = [];
    this.#draw();
  }

  #say(text) {
    document.querySelector("#trouble").textContent = text;
  }

  /** Keeps the list for the next page, and shows it when the browser next paints. */
  #draw() {
    sessionStorage.setItem(this.#key, JSON.stringify(this.#entries));
    this.#painting ??= requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.#painting = null;
    document.querySelector("#events").replaceChildren(...this.#entries.map(row));
    const stored = this.#entries.filter(({ state }) => ARRIVED.has(state)).length;
    document.querySelector("#counted").textContent = `${this.#entries.length} seen, ${stored} stored by the app`;
  }
}

const row = ({ id, name, seq, type, state }) => {
  const item = document.createElement("li");
  Object.assign(item.dataset, { id, name, state });
  item.title = id;
  item.append(labelled("b", name), labelled("small", `#${seq}${type === "custom" ? " · custom" : ""}`),
    labelled("span", state));
  return item;
};

/** Text that may break after an underscore. */
const labelled = (tag, text) => {
  const made = document.createElement(tag);
  for (const part of text.split(/(?<=_)/)) made.append(part, document.createElement("wbr"));
  return made;
};
