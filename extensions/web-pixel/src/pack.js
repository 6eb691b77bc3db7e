/** Makes of an event what is sent of it: plain JSON, scrubbed, and small enough. */

import { scrub } from "./scrub.js";

/** The most that one event may have, so that two of them are in flight at once (bytes). */
export const EVENT_BYTES = 30 * 1024;
const LONGEST_TEXT = 8000; // characters; the app does not keep an event with a longer one
const SHORT_TEXT = 500; // what is left of texts where an event is too large
const encoder = new TextEncoder();

/**
 * @typedef {object} Packed
 * @property {string} id
 * @property {string} name
 * @property {string} text its JSON
 * @property {number} bytes of the text
 */

/** @param {any} event @returns {Packed} */
export function pack(event) {
  const text = shortened(copy(event));
  return { id: event.id, name: event.name, text, bytes: byteLength(text) };
}

/** @param {string} text */
export function byteLength(text) {
  return encoder.encode(text).length;
}

/** A scrubbed copy; of what JSON cannot say (a cycle, for example) only the envelope is left. @param {any} event */
function copy(event) {
  try {
    const plain = JSON.parse(JSON.stringify(event));
    scrub(plain);
    return plain;
  } catch {
    return bare(event);
  }
}

/** @param {any} event */
function bare({ id, name, type, clientId, timestamp, seq }) {
  return { id, name, type, clientId, timestamp, seq, trimmed: { data: null } };
}

/**
 * The event's JSON within the limit. What is too large loses the second half of its largest list, again and again,
 * then the ends of its long texts, at last all but the envelope; `trimmed` tells how long each list was.
 * @param {any} event
 */
function shortened(event) {
  cutTexts(event, LONGEST_TEXT);
  let text = JSON.stringify(event);
  while (byteLength(text) > EVENT_BYTES) {
    if (!halveLargestList(event) && !cutTexts(event, SHORT_TEXT)) return JSON.stringify(bare(event));
    text = JSON.stringify(event);
  }
  return text;
}

/** @param {any} event */
function halveLargestList(event) {
  const lists = [...listsOf(event.data, "data"), ...listsOf(event.customData, "customData")];
  if (lists.length === 0) return false;
  const largest = lists.reduce((one, other) => (other.size > one.size ? other : one));
  event.trimmed = { [largest.path]: largest.list.length, ...event.trimmed };
  largest.list.length = Math.ceil(largest.list.length / 2);
  return true;
}

/** @param {any} value @param {string} path @returns {Generator<{path: string, list: any[], size: number}>} */
function* listsOf(value, path) {
  if (value === null || typeof value !== "object") return;
  if (Array.isArray(value) && value.length > 1) yield { path, list: value, size: JSON.stringify(value).length };
  for (const [name, member] of Object.entries(value)) yield* listsOf(member, `${path}.${name}`);
}

/** Whether there was anything to cut. @param {any} value @param {number} longest @returns {boolean} */
function cutTexts(value, longest) {
  if (value === null || typeof value !== "object") return false;
  let cut = false;
  for (const [name, member] of Object.entries(value)) {
    if (typeof member === "string" && member.length > longest) {
      value[name] = member.slice(0, longest);
      cut = true;
    } else cut = cutTexts(member, longest) || cut;
  }
  return cut;
}
