/** One request to the app, and what its answer means. */

/** @typedef {{kind: "stored"} | {kind: "refused"} | {kind: "later", seconds?: number}} Outcome */

const PATH = "/ingest/v1/events";
const PATIENCE_MS = 30_000;
const LONGEST_PAUSE_SECONDS = 600;
const WORTH_ANOTHER_TRY = new Set([408, 425, 429]);

/**
 * A function that posts a body. `text/plain` needs no preflight, and `keepalive` lets the request outlive its page.
 * @param {string} endpoint @param {typeof fetch} fetch
 */
export function poster(endpoint, fetch) {
  const url = endpoint.replace(/\/+$/, "") + PATH;
  const headers = { "Content-Type": "text/plain;charset=UTF-8" };
  /** @param {string} body @returns {Promise<Outcome>} */
  return async (body) => {
    try {
      const signal = AbortSignal.timeout?.(PATIENCE_MS); // which older browsers lack
      return meaning(await fetch(url, { method: "POST", body, headers, signal, keepalive: true, credentials: "omit" }));
    } catch {
      return { kind: "later" }; // offline, cut off, or too slow: fetch does not tell which
    }
  };
}

/** @param {Response} answer @returns {Outcome} */
function meaning(answer) {
  if (answer.ok) return { kind: "stored" };
  if (answer.status < 500 && !WORTH_ANOTHER_TRY.has(answer.status)) return { kind: "refused" };
  return { kind: "later", seconds: pause(answer.headers.get("Retry-After")) };
}

/** Seconds of a Retry-After header; undefined where there is none that can be read. @param {string | null} header */
function pause(header) {
  const seconds = Number.parseInt(header ?? "", 10);
  return seconds >= 0 ? Math.min(seconds, LONGEST_PAUSE_SECONDS) : undefined;
}
