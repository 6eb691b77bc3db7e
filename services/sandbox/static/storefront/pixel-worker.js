// Plays Shopify's strict sandbox: a worker without DOM, where storage and cookies are the page's and answer late.

const send = postMessage.bind(globalThis);
const realFetch = fetch.bind(globalThis);
const calls = new Map();
const subscribers = [];
const consentListeners = [];
const early = [];
let api = null;
let loaded = false;
let last = 0;

const HIDDEN = ["postMessage", "importScripts", "XMLHttpRequest", "WebSocket", "EventSource", "indexedDB", "caches",
  "BroadcastChannel", "Worker", "SharedWorker", "WebTransport"];
for (const name of HIDDEN) Object.defineProperty(globalThis, name, { value: undefined });

// The page's panel shows what becomes of each request; the pixel does not notice.
globalThis.fetch = async (url, options) => {
  const ids = idsOf(options?.body);
  send({ type: "sent", ids, state: "sending" });
  try {
    const answer = await realFetch(url, options);
    send({ type: "sent", ids, state: answer.ok ? "stored" : `answered ${answer.status}` });
    return answer;
  } catch (error) {
    send({ type: "sent", ids, state: "no answer" });
    throw error;
  }
};

const idsOf = (body) => {
  try {
    return JSON.parse(body).events.map((event) => event.id);
  } catch {
    return [];
  }
};

const inPage = (object, method) => (...values) =>
  new Promise((resolve, reject) => {
    calls.set(++last, { resolve, reject });
    send({ type: "call", call: last, object, method, values });
  });

const storage = (name) =>
  Object.fromEntries(
    ["getItem", "setItem", "removeItem", "key", "clear", "length"].map((method) => [method, inPage(name, method)]),
  );

const browser = {
  cookie: { get: inPage("cookie", "get"), set: inPage("cookie", "set") },
  localStorage: storage("localStorage"),
  sessionStorage: storage("sessionStorage"),
  sendBeacon: inPage("navigator", "sendBeacon"),
};

const subscribe = (list) => (name, callback) => {
  const entry = { name, callback };
  list.push(entry);
  return () => list.splice(list.indexOf(entry), 1).length > 0;
};

const hear = (list, names, event) => {
  for (const { name, callback } of [...list]) if (names.includes(name)) callback(structuredClone(event));
};

const publish = (event) => {
  hear(subscribers, ["all_events", `all_${event.type}_events`, event.name], event);
  send({ type: "delivered", id: event.id });
};

globalThis.shopify = {
  extend(point, callback) {
    if (point !== "WebPixel::Render") throw new Error(`no extension runs at ${point}`);
    callback(api);
    loaded = true;
    for (const event of early.splice(0)) publish(event);
    send({ type: "loaded" });
  },
};

const start = ({ settings, init, script }) => {
  api = {
    settings,
    init,
    browser,
    analytics: { subscribe: subscribe(subscribers) },
    customerPrivacy: { subscribe: subscribe(consentListeners) },
    _pixelInfo: { runtimeContext: "STRICT", surface: "storefront" },
  };
  import(script).catch((error) => send({ type: "failed", message: String(error) }));
};

const settle = ({ call, value, error }) => {
  const { resolve, reject } = calls.get(call);
  calls.delete(call);
  if (error === undefined) resolve(value);
  else reject(new Error(error));
};

addEventListener("message", ({ data }) => {
  if (data.type === "start") start(data);
  else if (data.type === "returned") settle(data);
  else if (data.type === "consent") hear(consentListeners, ["visitorConsentCollected"], data.event);
  else if (data.type === "event") loaded ? publish(data.event) : early.push(data.event);
});
