/** What the tests give the pixel instead of a browser. */

/** Time that passes when it is told to. */
export class FakeClock {
  time = 1_700_000_000_000;
  #timers = new Map();
  #last = 0;

  now = () => this.time;
  cancel = (timer) => this.#timers.delete(timer);
  later = (call, ms) => {
    this.#timers.set(++this.#last, { call, at: this.time + ms });
    return this.#last;
  };

  /** Lets time pass, and everything that is due happen in order. */
  async pass(ms) {
    const end = this.time + ms;
    await settled();
    for (let next = this.#next(end); next; next = this.#next(end)) {
      const [timer, { call, at }] = next;
      this.#timers.delete(timer);
      this.time = at;
      call();
      await settled();
    }
    this.time = end;
  }

  #next(end) {
    const due = [...this.#timers].filter(([, { at }]) => at <= end);
    return due.sort(([, one], [, other]) => one.at - other.at)[0];
  }
}

/** Lets promises that can settle do so. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A Storage behind promises, as the sandbox has it. */
export class FakeStorage {
  items = new Map();
  broken = false;

  #answer(value) {
    return this.broken ? Promise.reject(new Error("QuotaExceededError")) : Promise.resolve(value);
  }
  setItem = (key, value) => (this.broken || this.items.set(key, String(value)), this.#answer(undefined));
  getItem = (key) => this.#answer(this.items.get(key) ?? null);
  removeItem = (key) => (this.broken || this.items.delete(key), this.#answer(undefined));
  key = (place) => this.#answer([...this.items.keys()][place] ?? null);
  length = () => this.#answer(this.items.size);
}

/** The app: answers requests with what it is told to, and remembers what it stored. */
export class FakeApp {
  requests = [];
  stored = [];
  answers = []; // of the next requests: a status, [status, headers], an Error, or a promise of one; 204 when empty

  fetch = async (url, options) => {
    const batch = JSON.parse(options.body);
    this.requests.push({ url, options, batch });
    const answer = await (this.answers.length ? this.answers.shift() : 204);
    if (answer instanceof Error) throw answer;
    const [status, headers] = Array.isArray(answer) ? answer : [answer, {}];
    if (status === 204) this.stored.push(...batch.events);
    return new Response(null, { status, headers });
  };

  get ids() {
    return this.stored.map((event) => event.id);
  }
}

/** A promise that is settled from outside. */
export function pending() {
  let settle;
  const promise = new Promise((resolve) => (settle = resolve));
  return { promise, settle };
}

/** Shopify around the pixel. */
export class FakeShopify {
  #subscribers = [];
  #consent;

  constructor({ app = new FakeApp(), clock = new FakeClock(), storage = new FakeStorage(), allowed = true } = {}) {
    Object.assign(this, { app, clock, storage });
    this.api = {
      settings: { accountID: "public-key", endpoint: "https://app.example.com" },
      init: { data: { shop: { myshopifyDomain: "a.myshopify.com" } }, customerPrivacy: privacy(allowed) },
      browser: { localStorage: storage },
      analytics: { subscribe: (name, handler) => this.#subscribers.push({ name, handler }) },
      customerPrivacy: { subscribe: (_, handler) => (this.#consent = handler) },
    };
    this.world = {
      fetch: app.fetch,
      clock,
      random: () => 1,
      whenOnline: (call) => (this.online = call),
    };
  }

  /** What the visitor did, as one event. */
  publish(event) {
    const type = event.type ?? "standard";
    for (const { name, handler } of this.#subscribers) if (name === `all_${type}_events`) handler({ type, ...event });
  }

  decide(allowed) {
    this.#consent({ customerPrivacy: privacy(allowed) });
  }
}

const privacy = (analyticsProcessingAllowed) => ({
  analyticsProcessingAllowed,
  marketingAllowed: false,
  preferencesProcessingAllowed: false,
  saleOfDataAllowed: false,
});
