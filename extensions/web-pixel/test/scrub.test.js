import assert from "node:assert/strict";
import { test } from "node:test";

import { cleanUrl, scrub } from "../src/scrub.js";

const TOKEN = "864ef6919a4214321240c177707a01f7";

const CLEANED = [
  ["https://a.example/products/mug", "https://a.example/products/mug"],
  ["https://a.example/?utm_source=mail&variant=43751530397931#reviews", "https://a.example/?utm_source=mail&variant=43751530397931"],
  ["https://a.example/search?q=enamel+mug&page=2", "https://a.example/search?q=enamel+mug&page=2"],
  ["https://a.example/?q=ada%40example.com", "https://a.example/"],
  ["https://a.example/?utm_content=ada@example.com&page=1", "https://a.example/?page=1"],
  ["https://a.example/account?access_token=x&key=1&api%5Fkey=2&page=1", "https://a.example/account?page=1"],
  ["https://a.example/?session=1&code=2&hmac=3&email=4&phone=5&_sid=6", "https://a.example/"],
  [`https://a.example/?x=${TOKEN}&y=short`, "https://a.example/?y=short"],
  ["https://a.example/?t=eyJhbGciOi.eyJzdWIi.c2ln", "https://a.example/"],
  ["https://a.example/?id=5b9dbd0c-6b3e-4f0c-9d2c-0d6a2f1a3b4c", "https://a.example/"],
  ["https://a.example/?ref=summer-sale-2026-newsletter-edition", "https://a.example/?ref=summer-sale-2026-newsletter-edition"],
  [`https://a.example/checkouts/cn/${TOKEN}/information`, "https://a.example/checkouts/cn/removed/information"],
  [`https://a.example/12345678901/orders/${TOKEN}`, "https://a.example/12345678901/orders/removed"],
  ["https://a.example/account/reset/8217/a1b2c3d4e5f6a7b8c9d0", "https://a.example/account/reset/8217/removed"],
  ["https://a.example/unsubscribe/ada@example.com", "https://a.example/unsubscribe/removed"],
  ["https://ada:secret@a.example/x?%zz=1", "https://a.example/x?%zz=1"],
  ["//cdn.example/files/Main_9129b69a-0c7b-4f66-b6cf-c4222f18028a.jpg?v=1724736597", "//cdn.example/files/Main_9129b69a-0c7b-4f66-b6cf-c4222f18028a.jpg?v=1724736597"],
  ["/products/mug?pr_prod_strat=e5&preview_key=abc", "/products/mug?pr_prod_strat=e5"],
];

for (const [before, after] of CLEANED) {
  test(`${before} becomes ${after}`, () => assert.equal(cleanUrl(before), after));
  test(`${after} stays as it is`, () => assert.equal(cleanUrl(after), after));
}

test("every URL of an event is scrubbed, wherever it is, and other texts are not touched", () => {
  const href = `https://a.example/checkouts/cn/${TOKEN}?key=1&page=2#top`;
  const location = { href, pathname: `/checkouts/cn/${TOKEN}`, search: "?key=1&page=2", hash: "#top", host: "a.example" };
  const event = {
    context: { document: { location: { ...location }, referrer: "https://b.example/?token=1", title: "Key? #1" } },
    data: { checkout: { token: TOKEN, lineItems: [{ variant: { product: { url: "/products/a?key=1" } } }] } },
    customData: { colour: "#ff0000", deep: [{ link: "https://c.example/?secret=1#x" }], note: "what? a token" },
  };
  scrub(event);
  assert.deepEqual(event.context.document.location, {
    href: "https://a.example/checkouts/cn/removed?page=2",
    pathname: "/checkouts/cn/removed",
    search: "?page=2",
    hash: "",
    host: "a.example",
  });
  assert.equal(event.context.document.referrer, "https://b.example/");
  assert.equal(event.context.document.title, "Key? #1");
  assert.equal(event.data.checkout.token, TOKEN);
  assert.equal(event.data.checkout.lineItems[0].variant.product.url, "/products/a");
  assert.deepEqual(event.customData, { colour: "#ff0000", deep: [{ link: "https://c.example/" }], note: "what? a token" });
});
