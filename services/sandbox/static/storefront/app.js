// Asks the app, as its own page in the store's admin would: with a session token of the merchant, who is you.

export class App {
  #url;
  #session;

  constructor({ url, session }) {
    this.#url = url;
    this.#session = session;
  }

  /** The app's rows of a visitor; null where it does not say. */
  async eventsOf(visitor) {
    const answer = await this.#ask(`/api/events/visitors/${encodeURIComponent(visitor)}`);
    return answer?.ok ? (await answer.json()).events : null;
  }

  /** Switches the pixel on; what stands in the way, if something does. */
  async activatePixel() {
    const answer = await this.#ask("/ingest/extension", { method: "PUT" });
    if (answer === null) return "it cannot be reached from this page";
    return answer.ok ? null : ((await answer.json()).detail ?? `it answers ${answer.status}`);
  }

  async #ask(path, options = {}) {
    try {
      const { token } = await (await fetch(this.#session, { method: "POST" })).json();
      return await fetch(`${this.#url}${path}`, { ...options, headers: { Authorization: `Bearer ${token}` } });
    } catch {
      return null; // on another origin than the app's, or offline
    }
  }
}
