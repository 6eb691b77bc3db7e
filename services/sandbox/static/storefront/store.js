// What the pages do: each tells the pixel manager what the shopper sees and does.

import { Cart, shown } from "./cart.js";
import { Checkout, SHIPPING } from "./checkout.js";
import { Panel } from "./panel.js";
import { PixelManager } from "./pixel-manager.js";

const told = JSON.parse(document.querySelector("#told").textContent);
const { page, shop } = told;
const manager = new PixelManager(told);
const cart = new Cart(shop);
const at = (selector) => document.querySelector(selector);
const go = (path) => location.assign(`${shop.root}/${path}`);

window.Shopify = { shop: shop.myshopifyDomain, currency: { active: shop.currencyCode },
  analytics: { publish: (name, payload) => manager.publishCustom(name, payload) } };

const showCount = () => (at("#count").textContent = cart.count);

const add = (variant, quantity) => {
  cart.change(variant, quantity);
  manager.publish("product_added_to_cart", { cartLine: cart.line(variant, quantity) });
  showCount();
};

const remove = (variant, quantity) => {
  cart.change(variant, -quantity);
  manager.publish("product_removed_from_cart", { cartLine: cart.line(variant, quantity) });
  showCount();
};

const element = (tag, values, ...children) => {
  const made = Object.assign(document.createElement(tag), values);
  made.append(...children);
  return made;
};

const cartRow = ({ merchandise, quantity }) =>
  element("tr", {},
    element("td", {}, element("a", { href: `${shop.root}${merchandise.product.url}` }, merchandise.product.title),
      element("small", {}, merchandise.title)),
    element("td", { className: "amount" },
      element("button", { className: "plain less", onclick: () => (remove(merchandise, 1), drawCart()) }, "−"),
      ` ${quantity} `,
      element("button", { className: "plain more", onclick: () => (add(merchandise, 1), drawCart()) }, "+")),
    element("td", { className: "amount" }, shown(cart.line(merchandise, quantity).cost.totalAmount)),
    element("td", {},
      element("button", { className: "plain remove", onclick: () => (remove(merchandise, quantity), drawCart()) }, "Remove")));

const drawCart = () => {
  at("#lines").replaceChildren(...cart.lines.map(cartRow));
  at("#total").textContent = shown(cart.total);
  at("#basket").hidden = cart.count === 0;
  at("#nothing").hidden = cart.count > 0;
};

const openCart = () => {
  manager.publish("cart_viewed", { cart: cart.data });
  drawCart();
  at("#checkout").addEventListener("click", () => go(`checkouts/cn/${Checkout.begin(cart).token}/contact`));
};

const openProduct = () => {
  const chosen = () => page.variants.find(({ id }) => id === at("#variant").value);
  manager.publish("product_viewed", { productVariant: chosen() });
  at("#variant").addEventListener("change", () => {
    at("#price").textContent = shown(chosen().price);
    manager.publish("product_viewed", { productVariant: chosen() });
  });
  at("#add").addEventListener("click", () => add(chosen(), Number(at("#quantity").value)));
  at("#guide").addEventListener("click", () => {
    at("#sizes").hidden = !at("#sizes").hidden;
    window.Shopify.analytics.publish("size_guide_opened", { product: chosen().product.id });
  });
};

const openCollection = () => manager.publish("collection_viewed", { collection: page.collection });

const openSearch = () => {
  if (page.searchResult) manager.publish("search_submitted", { searchResult: page.searchResult });
};

const openAccount = () => {
  at("#newsletter").addEventListener("submit", (event) => {
    event.preventDefault();
    window.Shopify.analytics.publish("newsletter_joined", { place: "account", link: location.href });
    at("#joined").hidden = false;
  });
};

const summary = (checkout) => {
  const { subtotal, shipping, tax, total } = checkout.sums;
  const rows = [["Goods", subtotal], ["Shipping", shipping], ["Tax", tax], ["Total", total]];
  at("#sums").replaceChildren(...rows.filter(([, value]) => value !== null).map(([name, value]) =>
    element("div", {}, element("span", {}, name), element("span", {}, shown(cart.money(value))))));
};

const complain = (field) => {
  const required = field.validity.valueMissing;
  const message = required ? `${field.dataset.label} is missing` : `${field.dataset.label} is not right`;
  at("#alert").textContent = message;
  at("#alert").hidden = false;
  manager.publish("alert_displayed", { alert: { target: field.dataset.target, value: null, message,
    type: required ? "INPUT_REQUIRED" : "INPUT_INVALID" } });
};

const submit = (checkout) => async (event) => {
  event.preventDefault();
  const wrong = [...event.target.elements].find((field) => field.willValidate && !field.validity.valid);
  if (wrong) return complain(wrong);
  checkout.change(Object.fromEntries([...new FormData(event.target)].filter(([name]) => name !== "card")));
  if (page.step === "payment") checkout.change({ order: String(Date.now()) });
  manager.publish(checkout.submitted(page.step), { checkout: checkout.data });
  await manager.delivered();
  go(`checkouts/cn/${page.token}/${checkout.next(page.step)}`);
};

const breakExtension = () => {
  at("#gift-broken").hidden = false;
  manager.publish("ui_extension_errored", { error: { apiVersion: "2026-10", appId: "gid://shopify/App/1",
    appName: "Gift wrap", appVersion: "1.0.0", extensionName: "gift-wrap", message: "options is undefined",
    extensionTarget: "purchase.checkout.payment-method-list.render-after", placementReference: null, trace: "",
    type: "EXTENSION_USAGE_ERROR" } });
};

const openCheckout = () => {
  const checkout = new Checkout(page.token, cart);
  if (!checkout.state) return go("cart");
  summary(checkout);
  if (checkout.once("started")) manager.publish("checkout_started", { checkout: checkout.data });
  if (page.step === "thank-you") {
    at("#order").textContent = checkout.state.order;
    if (checkout.once("completed")) manager.publish("checkout_completed", { checkout: checkout.data });
    cart.empty();
    return showCount();
  }
  at("#step").addEventListener("submit", submit(checkout));
  at("#gift")?.addEventListener("click", breakExtension);
  for (const [handle, { price }] of Object.entries(SHIPPING)) {
    const place = at(`#price-${handle}`);
    if (place) place.textContent = shown(cart.money(price));
  }
};

const OPEN = { home: () => {}, collection: openCollection, product: openProduct, search: openSearch, cart: openCart,
  account: openAccount, checkout: openCheckout };

new Panel(manager, told);
showCount();
for (const price of document.querySelectorAll("[data-amount]")) {
  price.textContent = shown({ amount: Number(price.dataset.amount), currencyCode: shop.currencyCode });
}
manager.publish("page_viewed", {});
OPEN[page.kind]();
document.body.dataset.ready = "yes";
