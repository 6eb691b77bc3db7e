// The panel that shows which events there were and what became of them, and the question for consent.

const MOST = 60;

export class Panel {
  #key;
  #entries;
  #manager;
  #painting = null;

  constructor(manager, { myshopifyDomain }) {
    this.#manager = manager;
    this.#key = `sandbox.${myshopifyDomain}.panel`;
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
    document.querySelector("#privacy").addEventListener("click", () => (document.querySelector("#banner").hidden = false));
  }

  #ask() {
    document.querySelector("#banner").hidden = this.#manager.consent !== null;
    document.querySelector("#choice").textContent = this.#manager.consent ?? "not asked yet";
  }

  /** Events that the app does not have when the shopper declines are forgotten. */
  #decided(answer) {
    for (const entry of this.#entries) {
      if (answer === "declined" && entry.state !== "stored" && entry.state !== "no pixel") entry.state = "declined";
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
      if (ids.includes(entry.id) && entry.state !== "stored") entry.state = state;
    }
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
    const stored = this.#entries.filter(({ state }) => state === "stored").length;
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
