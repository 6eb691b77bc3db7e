// Plays Shopify's web pixels manager: makes events of what the shopper does, asks for consent, and runs the pixel.

const PURPOSES = { analytics: "analyticsProcessingAllowed", marketing: "marketingAllowed",
  preferences: "preferencesProcessingAllowed" };

export class PixelManager extends EventTarget {
  #told;
  #worker = null;
  #held = []; // seen before the shopper agreed; handed over afterwards
  #undelivered = new Set(); // on their way to the pixel

  constructor(told) {
    super();
    this.#told = told;
    this.#loadIfAllowed();
  }

  get clientId() {
    return clientId();
  }

  get consent() {
    return localStorage.getItem(this.#key("consent"));
  }

  /** The shopper's answer: "accepted" or "declined". */
  decide(answer) {
    localStorage.setItem(this.#key("consent"), answer);
    if (answer === "declined") this.#held = [];
    this.#worker?.postMessage({ type: "consent", event: { customerPrivacy: this.#privacy() } });
    this.#loadIfAllowed();
    this.#say("decided", { answer });
  }

  /** A standard event. */
  publish(name, data) {
    this.#publish({ name, type: "standard", data });
  }

  /** A custom event, as themes and apps publish them. */
  publishCustom(name, customData = null) {
    this.#publish({ name, type: "custom", customData });
  }

  /** Waits until the pixel has what was published: pages that leave right afterwards ask for it. */
  async delivered() {
    while (this.#undelivered.size > 0) await new Promise((resolve) => this.addEventListener("delivered", resolve, { once: true }));
  }

  #publish(kind) {
    const event = { id: newId(), ...kind, clientId: clientId(), seq: this.#next(), timestamp: new Date().toISOString(),
      context: this.#context() };
    const open = this.#worker !== null && this.#allowed();
    this.#say("event", { event, state: open ? "with the pixel" : this.#closed() });
    if (open) this.#hand(event);
    else if (this.consent === null) this.#held.push(event);
  }

  /** Why an event does not go to the pixel. */
  #closed() {
    if (this.#told.pixel === null) return "no pixel";
    return this.consent === null ? "held" : "declined";
  }

  #allowed() {
    const privacy = this.#privacy();
    return this.#told.pixel !== null && this.#told.pixel.purposes.every((purpose) => privacy[PURPOSES[purpose]]);
  }

  #privacy() {
    const all = this.consent === "accepted";
    return { analyticsProcessingAllowed: all, marketingAllowed: all, preferencesProcessingAllowed: all,
      saleOfDataAllowed: all };
  }

  #loadIfAllowed() {
    if (this.#worker !== null || !this.#allowed()) return;
    const here = new URL(import.meta.url);
    this.#worker = new Worker(new URL("pixel-worker.js", here), { type: "module" });
    this.#worker.addEventListener("message", ({ data }) => this.#hear(data));
    const script = new URL("../web-pixel/index.js", here).href;
    this.#worker.postMessage({ type: "start", settings: this.#told.pixel.settings, init: this.#init(), script });
    for (const event of this.#held.splice(0)) {
      this.#say("event", { event, state: "with the pixel" });
      this.#hand(event);
    }
  }

  #hand(event) {
    this.#undelivered.add(event.id);
    this.#worker.postMessage({ type: "event", event });
  }

  #init() {
    const { name, myshopifyDomain, countryCode, currencyCode } = this.#told.shop;
    const shop = { name, myshopifyDomain, countryCode, paymentSettings: { currencyCode },
      storefrontUrl: `https://${myshopifyDomain}` };
    return { context: this.#context(), customerPrivacy: this.#privacy(),
      data: { customer: null, cart: null, shop, purchasingCompany: null } };
  }

  #hear(data) {
    if (data.type === "call") return this.#answer(data);
    if (data.type === "delivered") this.#undelivered.delete(data.id);
    if (data.type === "failed") this.#undelivered.clear();
    this.#say(data.type, data);
    if (data.type === "failed") this.#say("delivered", {});
  }

  #answer({ call, object, method, values }) {
    try {
      this.#worker.postMessage({ type: "returned", call, value: inPage(object, method, values) });
    } catch (error) {
      this.#worker.postMessage({ type: "returned", call, error: String(error) });
    }
  }

  #context() {
    const { characterSet, title, referrer } = document;
    const { innerHeight, innerWidth, outerHeight, outerWidth, pageXOffset, pageYOffset, screenX, screenY, scrollX,
      scrollY, screen } = window;
    const { language, languages, userAgent, cookieEnabled } = navigator;
    const location = this.#onShopify(window.location.href);
    return {
      document: { location, referrer: referrer && this.#onShopify(referrer).href, characterSet, title },
      navigator: { language, languages: [...languages], userAgent, cookieEnabled },
      window: { innerHeight, innerWidth, outerHeight, outerWidth, pageXOffset, pageYOffset, screenX, screenY, scrollX,
        scrollY, location, origin: location.origin, screen: { height: screen.height, width: screen.width } },
    };
  }

  /** A page's address as it is where Shopify serves the store. */
  #onShopify(address) {
    const { root, myshopifyDomain } = this.#told.shop;
    const url = new URL(address);
    const path = url.pathname.startsWith(new URL(root).pathname) ? url.pathname.slice(new URL(root).pathname.length) : "";
    const { href, hash, host, hostname, origin, pathname, port, protocol, search } = new URL(
      `https://${myshopifyDomain}${path || "/"}${url.search}${url.hash}`,
    );
    return { href, hash, host, hostname, origin, pathname, port, protocol, search };
  }

  #next() {
    const seq = Number(localStorage.getItem(this.#key("seq")) ?? 0) + 1;
    localStorage.setItem(this.#key("seq"), String(seq));
    return seq;
  }

  #key(name) {
    return `sandbox.${this.#told.shop.myshopifyDomain}.${name}`;
  }

  #say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

const newId = () => `sh-${crypto.randomUUID()}`;

const clientId = () => {
  const known = cookies.get("_shopify_y");
  if (known) return known;
  const made = crypto.randomUUID();
  cookies.set("_shopify_y", `${made}; path=/; max-age=31536000; samesite=lax`);
  return made;
};

const cookies = {
  get: (name) => document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1) ?? "",
  set: (name, value) => (document.cookie = `${name}=${value}`),
};

const inPage = (object, method, values) => {
  if (object === "cookie") return cookies[method](...values);
  if (object === "navigator") return navigator.sendBeacon(...values);
  if (method === "length") return window[object].length;
  return window[object][method](...values);
};
