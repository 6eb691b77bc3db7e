// Plays App Bridge for the sandbox's admin: session tokens for the app's pages, nothing else.
(() => {
  const script = document.currentScript;
  const admin = new URL(script.src).origin;
  const query = new URLSearchParams(location.search);

  if (parent === window) {
    // Opened by itself, as from a bookmark: the app lives in the admin.
    const store = atob(query.get("host") ?? "").match(/^admin\.shopify\.com\/store\/([a-z0-9-]+)$/)?.[1];
    const sandbox = script.src.slice(0, script.src.lastIndexOf("/"));
    if (store) location.replace(`${sandbox}/${store}.myshopify.com/admin/apps/${script.dataset.apiKey}`);
    return;
  }

  const waiting = new Map();
  let asked = 0;

  addEventListener("message", (event) => {
    if (event.source !== parent || event.origin !== admin || event.data?.type !== "sandbox:token") return;
    waiting.get(event.data.id)?.(event.data.token);
    waiting.delete(event.data.id);
  });

  const idToken = () =>
    new Promise((resolve) => {
      waiting.set(++asked, resolve);
      parent.postMessage({ type: "sandbox:token?", id: asked }, admin);
    });

  window.shopify = { idToken, config: { apiKey: script.dataset.apiKey } };

  const plainFetch = window.fetch;
  window.fetch = async (input, init) => {
    const request = new Request(input, init);
    const foreign = new URL(request.url).origin !== location.origin;
    if (foreign || request.headers.has("Authorization")) return plainFetch(request);
    const send = async () => {
      const attempt = request.clone();
      attempt.headers.set("Authorization", `Bearer ${await idToken()}`);
      return plainFetch(attempt);
    };
    const answer = await send();
    return answer.headers.get("X-Shopify-Retry-Invalid-Session-Request") ? send() : answer;
  };

  const reload = query.get("shopify-reload");
  if (reload === null) return;
  const target = new URL(reload, location.origin);
  if (target.origin !== location.origin) return;
  idToken().then((token) => {
    target.searchParams.set("id_token", token);
    location.replace(target);
  });
})();
