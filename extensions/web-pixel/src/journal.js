/**
 * Keeps events in the shop's localStorage until the app has them, one key for each, so that pages and tabs which send
 * and remove at the same time never take away what another has not sent. Every page begins with what is left there.
 * Where the storage is full or forbidden, events live in memory alone.
 */

const PREFIX = "shopbus.pixel";
const KEPT_MS = 7 * 24 * 60 * 60 * 1000;
const MOST_KEYS = 1000; // of everybody's in this storage that are looked through
const GROWTH = 50; // keys that may be added between asking how many there are and asking for each

/** @typedef {import("./pack.js").Packed} Packed */

export class Journal {
  /** @type {any} */ #storage;
  /** @type {string} */ #prefix;
  /** @type {() => number} */ #now;

  /** @param {any} storage @param {string} shop @param {() => number} now */
  constructor(storage, shop, now) {
    this.#storage = storage;
    this.#prefix = `${PREFIX}.${shop}.`;
    this.#now = now;
  }

  /** @param {Packed} packed */
  async keep(packed) {
    await this.#quietly(() => this.#storage.setItem(this.#key(packed.id), JSON.stringify({ at: this.#now(), ...packed })));
  }

  /** @param {Iterable<string>} ids */
  async remove(ids) {
    await Promise.all(Array.from(ids, (id) => this.#quietly(() => this.#storage.removeItem(this.#key(id)))));
  }

  /** What earlier pages did not get rid of, oldest first. @returns {Promise<Packed[]>} */
  async recall() {
    const found = await Promise.all((await this.#keys()).map((key) => this.#read(key)));
    return found.filter((one) => one !== null).sort((one, other) => one.at - other.at);
  }

  async clear() {
    await Promise.all((await this.#keys()).map((key) => this.#quietly(() => this.#storage.removeItem(key))));
  }

  /** @param {string} id */
  #key(id) {
    return this.#prefix + id;
  }

  /** @returns {Promise<string[]>} */
  async #keys() {
    const known = (await this.#quietly(() => this.#storage.length())) ?? 0;
    const length = Math.min(known + GROWTH, MOST_KEYS);
    const keys = await Promise.all(Array.from({ length }, (_, place) => this.#quietly(() => this.#storage.key(place))));
    return keys.filter((key) => key?.startsWith(this.#prefix));
  }

  /** One kept event; null, and gone, where it is too old or nothing we wrote. @param {string} key */
  async #read(key) {
    const value = await this.#quietly(() => this.#storage.getItem(key));
    const entry = parsed(value);
    if (entry && entry.at > this.#now() - KEPT_MS) return entry;
    if (value !== null) await this.#quietly(() => this.#storage.removeItem(key));
    return null;
  }

  /** Undefined instead of an error: without storage the events still are in memory. @param {() => Promise<any>} call */
  async #quietly(call) {
    try {
      return await call();
    } catch {
      return undefined;
    }
  }
}

/** @param {any} text */
function parsed(text) {
  try {
    const entry = JSON.parse(text);
    const ours = typeof entry?.id === "string" && typeof entry.text === "string" && Number.isFinite(entry.bytes);
    return ours && Number.isFinite(entry.at) ? entry : null;
  } catch {
    return null;
  }
}
