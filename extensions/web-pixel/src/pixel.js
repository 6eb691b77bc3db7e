/** The pixel: from Shopify's events to the courier, while the visitor agrees. */

import { Courier } from "./courier.js";
import { Journal } from "./journal.js";
import { pack } from "./pack.js";
import { poster } from "./post.js";
import { VERSION } from "./version.js";

const LONGEST_ID = 128; // of what the app takes

/**
 * What the worker gives; tests bring their own.
 * @typedef {object} World
 * @property {typeof fetch} fetch
 * @property {import("./courier.js").Clock} clock
 * @property {() => number} random
 * @property {(call: () => void) => void} whenOnline
 */

/** @type {World} */
const WORKER = {
  fetch: (...request) => fetch(...request),
  clock: {
    now: () => Date.now(),
    later: (call, ms) => setTimeout(call, ms),
    cancel: (timer) => clearTimeout(timer),
  },
  random: Math.random,
  whenOnline: (call) => globalThis.addEventListener?.("online", call),
};

/** @param {any} api what Shopify gives the extension @param {World} world */
export function start({ analytics, browser, customerPrivacy, init, settings }, world = WORKER) {
  const { accountID, endpoint } = settings ?? {};
  if (!accountID || !/^https?:\/\//.test(endpoint ?? "")) return;
  const journal = new Journal(browser.localStorage, init.data.shop.myshopifyDomain, world.clock.now);
  const sender = { key: accountID, version: VERSION };
  const post = poster(endpoint, world.fetch);
  const courier = new Courier({ ...world, post, journal, sender });
  const consent = new Consent(init.customerPrivacy, () => {
    courier.forget();
    journal.clear();
  });
  /** @param {any} event */
  const take = (event) => {
    if (consent.given && isEvent(event)) courier.add(pack(event));
  };
  analytics.subscribe("all_standard_events", take);
  analytics.subscribe("all_custom_events", take);
  customerPrivacy.subscribe("visitorConsentCollected", (/** @type {any} */ event) => consent.hear(event.customerPrivacy));
  world.whenOnline(() => courier.hurry());
  if (consent.given) journal.recall().then((left) => consent.given && courier.adopt(left));
}

/** Whether the visitor agrees to analytics. Shopify does not even load the pixel before that. */
class Consent {
  given = true;
  /** @type {() => void} */ #withdrawn;

  /** @param {any} privacy as of now @param {() => void} withdrawn what to do when the visitor does not agree any more */
  constructor(privacy, withdrawn) {
    this.#withdrawn = withdrawn;
    this.hear(privacy);
  }

  /** @param {any} privacy */
  hear(privacy) {
    const before = this.given;
    this.given = privacy?.analyticsProcessingAllowed === true;
    if (before && !this.given) this.#withdrawn();
  }
}

/** @param {any} event */
function isEvent(event) {
  return typeof event?.id === "string" && event.id.length <= LONGEST_ID && typeof event.name === "string";
}
