/**
 * Takes out of an event's URLs what may be a secret or say who somebody is: fragments, credentials, and parameters and
 * path segments that hold tokens, keys or e-mail addresses. The app does the same again before it stores anything.
 */

const ORDINARY = /^(utm_\w+|[gw]braid|gclid|dclid|fbclid|msclkid|ttclid|variant|page|sort_by|q|v|width|height)$/i;
const TELLING =
  /token|secret|key|pass|pwd|auth|sig|hmac|session|sid$|jwt|otp|code|nonce|mail|phone|address|(first|last|user)_?name|preview/i;
const ADDRESS = /[^\s@/]+(@|%40)[^\s@/]+\.[a-z]{2,}/i;
const JWT = /^eyJ[\w-]+\.[\w-]+\.[\w-]*$/;
const RANDOM = /(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{16,}|^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const LONG_RANDOM = /(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{24,}/i;
const BEFORE_A_SECRET = /^(reset|activate|invite|authenticate|orders|checkouts?|c|cn|ac)$/i;
const URL_LIKE = /^(https?:)?\/\//i;
const GONE = "removed";

/** Scrubs every URL of an event, in place. Whatever is not a URL stays as it is. @param {any} value */
export function scrub(value) {
  if (value === null || typeof value !== "object") return;
  if (typeof value.href === "string" && typeof value.pathname === "string") cleanLocation(value);
  for (const [name, member] of Object.entries(value)) {
    if (typeof member !== "string") scrub(member);
    else if (URL_LIKE.test(member) || (name === "url" && member.startsWith("/"))) value[name] = cleanUrl(member);
  }
}

/** Scrubs a Location as pixels see it. @param {Record<string, any>} location */
function cleanLocation(location) {
  location.pathname = cleanPath(location.pathname);
  if (typeof location.hash === "string") location.hash = "";
  if (typeof location.search === "string") location.search = cleanQuery(location.search.slice(1), "?");
}

/** A URL without fragment, credentials and secrets. @param {string} url */
export function cleanUrl(url) {
  const [, origin, path, query] = /** @type {RegExpMatchArray} */ (
    url.match(/^((?:https?:)?\/\/[^/?#]*)?([^?#]*)(?:\?([^#]*))?/is)
  );
  return (origin ?? "").replace(/\/\/.*@/s, "//") + cleanPath(path) + cleanQuery(query ?? "", "?");
}

/** @param {string} path */
function cleanPath(path) {
  const parts = path.split("/");
  const suspicious = parts.findIndex((part) => BEFORE_A_SECRET.test(part));
  return parts.map((part, place) => (tellsInPath(part, suspicious >= 0 && place > suspicious) ? GONE : part)).join("/");
}

/** @param {string} part @param {boolean} suspicious after a word behind which secrets stand */
function tellsInPath(part, suspicious) {
  if (ADDRESS.test(part) || JWT.test(part) || LONG_RANDOM.test(part)) return true;
  return suspicious && RANDOM.test(part);
}

/** @param {string} query @param {string} mark */
function cleanQuery(query, mark) {
  const kept = query.split("&").filter((pair) => pair && !tells(pair));
  return kept.length ? mark + kept.join("&") : "";
}

/** Whether a parameter may be a secret. @param {string} pair */
function tells(pair) {
  const place = pair.indexOf("=");
  const [name, value] = place < 0 ? [pair, pair] : [pair.slice(0, place), pair.slice(place + 1)];
  if (ADDRESS.test(decoded(value))) return true;
  if (ORDINARY.test(name)) return false;
  return TELLING.test(decoded(name)) || JWT.test(value) || RANDOM.test(decoded(value));
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return text; // a stray per cent sign
  }
}
