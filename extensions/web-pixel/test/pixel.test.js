import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { start } from "../src/pixel.js";
import { VERSION } from "../src/version.js";
import { FakeClock, FakeShopify, FakeStorage, pending, settled } from "./fakes.js";

const SECOND = 1000;
let made = 0;

const event = (more = {}) => ({ id: `sh-${++made}`, name: "page_viewed", clientId: "c", seq: made, data: {}, ...more });

function started(options) {
  const shopify = new FakeShopify(options);
  start(shopify.api, shopify.world);
  return shopify;
}

/** Publishes that many events and gives their ids. */
function publish(shopify, count, more) {
  return Array.from({ length: count }, () => {
    const one = event(more);
    shopify.publish(one);
    return one.id;
  });
}

const kept = (storage) => [...storage.items.values()].map((value) => JSON.parse(value).id);

test("events of a moment are one request without preflight that outlives its page", async () => {
  const shopify = started();
  const ids = [...publish(shopify, 2), ...publish(shopify, 1, { type: "custom", name: "liked", customData: { a: 1 } })];
  await shopify.clock.pass(249);
  assert.equal(shopify.app.requests.length, 0);
  await shopify.clock.pass(1);
  const [{ url, options, batch }] = shopify.app.requests;
  assert.equal(url, "https://app.example.com/ingest/v1/events");
  assert.deepEqual([options.method, options.keepalive, options.credentials], ["POST", true, "omit"]);
  assert.deepEqual(options.headers, { "Content-Type": "text/plain;charset=UTF-8" });
  assert.deepEqual([batch.key, batch.version], ["public-key", VERSION]);
  assert.deepEqual(batch.events.map(({ id }) => id), ids);
  assert.deepEqual(batch.events[2].customData, { a: 1 });
  assert.equal(batch.events[0].seq, Number(ids[0].slice(3)));
});

test("twenty events do not wait", async () => {
  const shopify = started();
  publish(shopify, 20);
  await shopify.clock.pass(0);
  assert.equal(shopify.app.stored.length, 20);
});

test("a completed checkout does not wait, nor does what came before it", async () => {
  const shopify = started();
  const ids = [...publish(shopify, 1), ...publish(shopify, 1, { name: "checkout_completed" })];
  await shopify.clock.pass(0);
  assert.deepEqual(shopify.app.ids, ids);
});

test("requests in flight stay within what browsers keep alive", async () => {
  const shopify = started();
  const answers = Array.from({ length: 40 }, pending);
  shopify.app.answers = answers.map(({ promise }) => promise);
  publish(shopify, 12, { data: { text: Array.from({ length: 40 }, () => "x".repeat(400)) } });
  await shopify.clock.pass(SECOND);
  for (let answered = 0; answered < shopify.app.requests.length; answered += 1) {
    const flying = shopify.app.requests.slice(answered);
    assert.ok(flying.reduce((sum, { options }) => sum + new Blob([options.body]).size, 0) <= 64 * 1024);
    answers[answered].settle(204);
    await settled();
  }
  assert.equal(shopify.app.stored.length, 12);
});

test("small batches fly together, four at most", async () => {
  const shopify = started();
  const answers = Array.from({ length: 10 }, pending);
  shopify.app.answers = answers.map(({ promise }) => promise);
  publish(shopify, 110);
  await shopify.clock.pass(SECOND);
  assert.equal(shopify.app.requests.length, 4);
  for (const { settle } of answers) settle(204);
  await shopify.clock.pass(SECOND);
  assert.equal(shopify.app.stored.length, 110);
});

for (const failure of [new TypeError("Failed to fetch"), 500, 503, 429, 408]) {
  test(`after ${failure} the same events are sent again, later and later`, async () => {
    const shopify = started();
    shopify.app.answers = [failure, failure, failure];
    const ids = publish(shopify, 3);
    await shopify.clock.pass(250);
    for (const [pause, requests] of [[999, 1], [1, 2], [1999, 2], [1, 3], [4000, 4]]) {
      await shopify.clock.pass(pause);
      assert.equal(shopify.app.requests.length, requests);
    }
    assert.deepEqual(shopify.app.ids, ids);
    assert.deepEqual(kept(shopify.storage), []);
  });
}

test("Retry-After is kept to, also when the browser comes back online or another request succeeds", async () => {
  const shopify = started();
  const late = pending();
  shopify.app.answers = [[429, { "Retry-After": "30" }], late.promise];
  const ids = publish(shopify, 40);
  await shopify.clock.pass(0);
  shopify.online();
  late.settle(204);
  await shopify.clock.pass(29 * SECOND);
  assert.equal(shopify.app.requests.length, 2);
  await shopify.clock.pass(SECOND);
  assert.deepEqual(shopify.app.ids.sort(), ids.sort());
});

test("a Retry-After of nothing does not make it hurry", async () => {
  const shopify = started();
  shopify.app.answers = [[503, { "Retry-After": "0" }], [503, { "Retry-After": "0" }]];
  const ids = publish(shopify, 1);
  await shopify.clock.pass(250 + 999);
  assert.equal(shopify.app.requests.length, 1);
  await shopify.clock.pass(1 + 2000);
  assert.deepEqual(shopify.app.ids, ids);
});

for (const status of [400, 401, 403, 404, 413]) {
  test(`what is refused with ${status} is not sent again, and what comes after it is`, async () => {
    const shopify = started();
    shopify.app.answers = [status];
    publish(shopify, 1);
    await shopify.clock.pass(SECOND);
    assert.deepEqual(kept(shopify.storage), []);
    const ids = publish(shopify, 1);
    await shopify.clock.pass(60 * SECOND);
    assert.deepEqual(shopify.app.ids, ids);
    assert.equal(shopify.app.requests.length, 2);
  });
}

test("back online, nothing waits any longer", async () => {
  const shopify = started();
  shopify.app.answers = Array.from({ length: 5 }, () => new TypeError("Failed to fetch"));
  const ids = publish(shopify, 1);
  await shopify.clock.pass(16 * SECOND);
  assert.equal(shopify.app.requests.length, 5);
  shopify.online();
  await shopify.clock.pass(0);
  assert.deepEqual(shopify.app.ids, ids);
});

test("after a failure one request goes alone, however much has gathered", async () => {
  const shopify = started();
  shopify.app.answers = [503, pending().promise];
  publish(shopify, 20);
  await shopify.clock.pass(0);
  publish(shopify, 60);
  await shopify.clock.pass(2 * SECOND);
  assert.equal(shopify.app.requests.length, 2);
});

test("a page that ends leaves its events to the next one, which keeps their ids", async () => {
  const storage = new FakeStorage();
  const first = started({ storage });
  first.app.answers = [pending().promise];
  const ids = publish(first, 2);
  await first.clock.pass(SECOND);
  ids.push(...publish(first, 1));
  await settled();
  const second = started({ storage });
  await second.clock.pass(SECOND);
  assert.deepEqual(second.app.ids, ids);
  assert.equal(storage.items.size, 0);
});

test("a key that is added while the storage is looked through hides none that was there", async () => {
  const storage = new FakeStorage();
  const first = started({ storage });
  first.app.answers = [pending().promise];
  const ids = publish(first, 3);
  await first.clock.pass(SECOND);
  const { length } = storage;
  storage.length = async () => {
    const count = await length();
    storage.items = new Map([["another", "early"], ...storage.items]);
    return count;
  };
  const second = started({ storage });
  await second.clock.pass(SECOND);
  assert.deepEqual(second.app.ids, ids);
});

test("what another tab still has to send is not taken from it", async () => {
  const storage = new FakeStorage();
  const one = started({ storage });
  const [early] = publish(one, 1);
  await settled();
  const other = started({ storage });
  await settled();
  const [late] = publish(one, 1);
  one.app.answers = [503];
  await one.clock.pass(500);
  await other.clock.pass(500);
  assert.deepEqual(other.app.ids, [early]);
  assert.deepEqual(kept(storage), [late]);
});

test("events of another shop, of last week, and what others keep in the storage are left alone or cleared away", async () => {
  const storage = new FakeStorage();
  const clock = new FakeClock();
  const entry = (id, at) => JSON.stringify({ id, at, name: "x", text: `{"id":"${id}"}`, bytes: 10 });
  storage.items.set("cart", "theirs");
  storage.items.set("shopbus.pixel.b.myshopify.com.sh-b", entry("sh-b", clock.now()));
  storage.items.set("shopbus.pixel.a.myshopify.com.sh-old", entry("sh-old", clock.now() - 8 * 24 * 3600 * SECOND));
  storage.items.set("shopbus.pixel.a.myshopify.com.sh-bad", "{");
  storage.items.set("shopbus.pixel.a.myshopify.com.sh-good", entry("sh-good", clock.now() - 3600 * SECOND));
  const shopify = started({ storage, clock });
  await clock.pass(SECOND);
  assert.deepEqual(shopify.app.ids, ["sh-good"]);
  assert.deepEqual([...storage.items.keys()], ["cart", "shopbus.pixel.b.myshopify.com.sh-b"]);
});

test("without a storage events still are sent", async () => {
  const storage = new FakeStorage();
  storage.broken = true;
  const shopify = started({ storage });
  const ids = publish(shopify, 2);
  await shopify.clock.pass(SECOND);
  assert.deepEqual(shopify.app.ids, ids);
});

test("of more than fits the oldest are dropped, but no completed checkout", async () => {
  const shopify = started();
  shopify.app.answers = [new TypeError("Failed to fetch")];
  const [checkout] = publish(shopify, 1, { name: "checkout_completed" });
  await settled();
  publish(shopify, 700);
  await shopify.clock.pass(0);
  assert.equal(shopify.storage.items.size, 500);
  await shopify.clock.pass(60 * SECOND);
  assert.equal(shopify.app.stored.length, 500);
  assert.ok(shopify.app.ids.includes(checkout));
  assert.ok(shopify.app.ids.includes(`sh-${made}`));
});

test("without consent nothing is taken, and what was kept is forgotten", async () => {
  const storage = new FakeStorage();
  const before = started({ storage });
  publish(before, 1);
  await settled();
  const shopify = started({ storage, allowed: false });
  publish(shopify, 30);
  await shopify.clock.pass(SECOND);
  assert.deepEqual([shopify.app.requests.length, storage.items.size], [0, 0]);
});

test("consent that comes later counts from then on", async () => {
  const shopify = started({ allowed: false });
  publish(shopify, 1);
  shopify.decide(true);
  const ids = publish(shopify, 1);
  await shopify.clock.pass(SECOND);
  assert.deepEqual(shopify.app.ids, ids);
});

test("consent taken back ends everything at once, also what failed and would be sent again", async () => {
  const shopify = started();
  const flying = pending();
  shopify.app.answers = [flying.promise];
  publish(shopify, 1);
  await shopify.clock.pass(250);
  publish(shopify, 1);
  shopify.decide(false);
  flying.settle(503);
  publish(shopify, 1);
  await shopify.clock.pass(60 * SECOND);
  assert.equal(shopify.app.requests.length, 1);
  assert.deepEqual(kept(shopify.storage), []);
});

test("an event that comes twice is sent once", async () => {
  const shopify = started();
  const one = event();
  shopify.publish(one);
  shopify.publish(one);
  await shopify.clock.pass(SECOND);
  shopify.publish(one);
  await shopify.clock.pass(SECOND);
  assert.deepEqual(shopify.app.ids, [one.id]);
});

test("what is no event is not sent", async () => {
  const shopify = started();
  for (const odd of [{}, { id: 1, name: "a" }, { id: "a" }, { id: "x".repeat(129), name: "a" }]) shopify.publish(odd);
  await shopify.clock.pass(SECOND);
  assert.equal(shopify.app.requests.length, 0);
});

for (const settings of [undefined, {}, { accountID: "k" }, { accountID: "", endpoint: "https://a" }, { accountID: "k", endpoint: "ftp://a" }]) {
  test(`with settings ${JSON.stringify(settings)} the pixel does nothing`, () => {
    const shopify = new FakeShopify();
    start({ ...shopify.api, settings }, shopify.world);
    publish(shopify, 20);
    assert.equal(shopify.app.requests.length, 0);
  });
}

test("the version sent is the package's", async () => {
  const manifest = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
  assert.equal(VERSION, manifest.version);
});
