import assert from "node:assert/strict";
import { test } from "node:test";

import { EVENT_BYTES, byteLength, pack } from "../src/pack.js";

const ENVELOPE = { id: "sh-1", name: "cart_viewed", type: "standard", clientId: "c", timestamp: "2026-01-01T00:00:00Z", seq: 7 };
const line = (number) => ({ quantity: number, merchandise: { id: String(number), title: "Wool Blanket <Fjord>" } });
const cart = (length) => ({ totalQuantity: length, lines: Array.from({ length }, (_, place) => line(place)) });

test("an event of usual size is sent as it is", () => {
  const event = { ...ENVELOPE, data: { cart: cart(20) } };
  const packed = pack(event);
  assert.deepEqual(JSON.parse(packed.text), event);
  assert.deepEqual([packed.id, packed.name, packed.bytes], ["sh-1", "cart_viewed", byteLength(packed.text)]);
});

test("the event that Shopify gave is not changed", () => {
  const event = { ...ENVELOPE, data: { url: "https://a.example/?token=1", cart: cart(5000) } };
  const before = structuredClone(event);
  pack(event);
  assert.deepEqual(event, before);
});

test("of a large cart the first lines are kept, with the totals and how many lines there were", () => {
  const sent = JSON.parse(pack({ ...ENVELOPE, data: { cart: cart(5000) } }).text);
  assert.ok(byteLength(JSON.stringify(sent)) <= EVENT_BYTES);
  assert.ok(sent.data.cart.lines.length > 100);
  assert.deepEqual(sent.data.cart.lines[0], line(0));
  assert.equal(sent.data.cart.totalQuantity, 5000);
  assert.deepEqual(sent.trimmed, { "data.cart.lines": 5000 });
});

test("a text that the app would not take is cut, and nothing else with it", () => {
  const customData = { text: "x".repeat(9000), other: "y".repeat(7000), short: "s" };
  const sent = JSON.parse(pack({ ...ENVELOPE, customData }).text);
  assert.deepEqual([sent.customData.text.length, sent.customData.other.length, sent.customData.short], [8000, 7000, "s"]);
});

test("long texts are cut where lists are not what makes it large", () => {
  const sent = JSON.parse(pack({ ...ENVELOPE, type: "custom", customData: { text: "ü".repeat(9000), more: ["ü".repeat(8000)], short: "s" } }).text);
  assert.deepEqual([sent.customData.text.length, sent.customData.short], [500, "s"]);
});

test("what cannot be made small enough is sent as an envelope", () => {
  const customData = Object.fromEntries(Array.from({ length: 9000 }, (_, place) => [`name-${place}`, place]));
  assert.deepEqual(JSON.parse(pack({ ...ENVELOPE, customData }).text), { ...ENVELOPE, trimmed: { data: null } });
});

test("what JSON cannot say is sent as an envelope", () => {
  const customData = { count: 1n };
  customData.itself = customData;
  assert.deepEqual(JSON.parse(pack({ ...ENVELOPE, customData }).text), { ...ENVELOPE, trimmed: { data: null } });
});

test("a cart of 100,000 lines and one of a thousand levels are small enough, too", () => {
  let deep = {};
  for (let level = 0; level < 1000; level += 1) deep = { deep, pad: "x".repeat(100) };
  for (const data of [{ cart: cart(100_000) }, deep]) {
    assert.ok(pack({ ...ENVELOPE, data }).bytes <= EVENT_BYTES);
  }
});
