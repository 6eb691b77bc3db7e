/**
 * Carries events to the app: gathers them for a moment, sends what gathered in one request, keeps several requests in
 * flight as far as browsers allow, and tries again what the app could not take. The app knows events by their ids, so
 * sending one twice does no harm.
 */

import { byteLength } from "./pack.js";

export const GATHER_MS = 250;
export const BATCH_EVENTS = 20;
/** Browsers refuse keepalive requests beyond 64 KiB in flight together, and the app a body beyond that. */
export const FLIGHT_BYTES = 62 * 1024;
const MOST_FLIGHTS = 4;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;
const MOST_EVENTS = 500;
const MOST_BYTES = 2 * 1024 * 1024;
const PRECIOUS = "checkout_completed"; // is sent at once, and dropped last

/**
 * @typedef {import("./pack.js").Packed} Packed
 * @typedef {{now(): number, later(call: () => void, ms: number): any, cancel(timer: any): void}} Clock
 * @typedef {object} Means
 * @property {(body: string) => Promise<import("./post.js").Outcome>} post
 * @property {import("./journal.js").Journal} journal
 * @property {Clock} clock
 * @property {() => number} random
 * @property {{key: string, version: string}} sender
 */

export class Courier {
  /** @type {Map<string, Packed>} */ #waiting = new Map();
  /** @type {Map<string, Packed>} */ #flying = new Map();
  /** @type {Set<string>} */ #ended = new Set();
  #flights = 0;
  #flightBytes = 0;
  #due = 0;
  #failures = 0;
  #resumeAt = 0; // after failures
  #askedUntil = 0; // by the app
  /** @type {any} */ #timer = null;
  /** @type {Means} */ #means;
  /** @type {string} */ #head;
  /** @type {number} */ #frameBytes;

  /** @param {Means} means */
  constructor(means) {
    this.#means = means;
    this.#head = JSON.stringify(means.sender).slice(0, -1) + ',"events":[';
    this.#frameBytes = byteLength(this.#head) + 2;
  }

  /** Takes an event over. @param {Packed} packed */
  add(packed) {
    if (this.#knows(packed.id)) return;
    this.#means.journal.keep(packed);
    this.#take(packed);
    this.#wake();
  }

  /** Takes over what earlier pages left. @param {Packed[]} events */
  adopt(events) {
    for (const packed of events) if (!this.#knows(packed.id)) this.#take(packed);
    this.#wake();
  }

  /** The browser is back online: does not wait any longer, unless the app asked for a pause. */
  hurry() {
    this.#resumeAt = 0;
    this.#wake();
  }

  /** Forgets everything that the app does not have yet. */
  forget() {
    this.#waiting.clear();
    this.#flying.clear();
    this.#wake();
  }

  /** @param {string} id */
  #knows(id) {
    return this.#waiting.has(id) || this.#flying.has(id) || this.#ended.has(id);
  }

  /** @param {Packed} packed */
  #take(packed) {
    const now = this.#means.clock.now();
    if (this.#waiting.size === 0) this.#due = now + GATHER_MS;
    this.#waiting.set(packed.id, packed);
    if (packed.name === PRECIOUS || this.#waiting.size >= BATCH_EVENTS) this.#due = now;
    this.#makeRoom();
  }

  /** Drops the oldest of what is too much, completed checkouts last. */
  #makeRoom() {
    let bytes = 0;
    for (const packed of this.#waiting.values()) bytes += packed.bytes;
    while (this.#waiting.size > MOST_EVENTS || bytes > MOST_BYTES) {
      const events = [...this.#waiting.values()];
      const dropped = events.find((packed) => packed.name !== PRECIOUS) ?? events[0];
      this.#waiting.delete(dropped.id);
      this.#means.journal.remove([dropped.id]);
      bytes -= dropped.bytes;
    }
  }

  /** Sends what may go now, and sets the alarm for what may not yet. */
  #wake() {
    const { clock } = this.#means;
    clock.cancel(this.#timer);
    this.#timer = null;
    const wait = Math.max(this.#due, this.#resumeAt, this.#askedUntil) - clock.now();
    if (this.#waiting.size === 0) return;
    if (wait > 0) this.#timer = clock.later(() => this.#wake(), wait);
    else while (this.#launch());
  }

  /** Whether a batch took off. After a failure one goes alone, to see how things are. */
  #launch() {
    if (this.#flights >= (this.#failures ? 1 : MOST_FLIGHTS)) return false;
    const batch = this.#nextBatch();
    if (batch.length === 0) return false;
    const body = `${this.#head}${batch.map((packed) => packed.text).join()}]}`;
    for (const packed of batch) {
      this.#waiting.delete(packed.id);
      this.#flying.set(packed.id, packed);
    }
    this.#fly(batch, body, byteLength(body));
    return true;
  }

  /** The oldest events that still find a place in the air. @returns {Packed[]} */
  #nextBatch() {
    const batch = [];
    let bytes = this.#flightBytes + this.#frameBytes;
    for (const packed of this.#waiting.values()) {
      bytes += packed.bytes + 1;
      if (batch.length === BATCH_EVENTS || bytes > FLIGHT_BYTES) break;
      batch.push(packed);
    }
    return batch;
  }

  /** @param {Packed[]} batch @param {string} body @param {number} bytes */
  async #fly(batch, body, bytes) {
    this.#flights += 1;
    this.#flightBytes += bytes;
    const outcome = await this.#means.post(body);
    this.#flights -= 1;
    this.#flightBytes -= bytes;
    const known = batch.filter((packed) => this.#flying.delete(packed.id));
    if (outcome.kind === "later") this.#putBack(known, outcome.seconds);
    else this.#end(known);
    this.#wake();
  }

  /** Stored, or refused for good. @param {Packed[]} batch */
  #end(batch) {
    this.#failures = 0;
    const ids = batch.map((packed) => packed.id);
    for (const id of ids) this.#ended.add(id);
    this.#means.journal.remove(ids);
  }

  /** @param {Packed[]} batch @param {number | undefined} seconds what the app asked for */
  #putBack(batch, seconds) {
    this.#waiting = new Map([...batch.map((packed) => /** @type {const} */ ([packed.id, packed])), ...this.#waiting]);
    this.#makeRoom();
    this.#failures += 1;
    const now = this.#means.clock.now();
    this.#resumeAt = now + this.#backoff();
    if (seconds !== undefined) this.#askedUntil = now + seconds * 1000;
  }

  /** Doubles with each failure, and half of it is chance, so that a shop's visitors do not come back all at once. */
  #backoff() {
    const whole = Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 1), LONGEST_PAUSE_MS);
    return whole * (0.5 + this.#means.random() / 2);
  }
}
