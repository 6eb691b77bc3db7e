// A checkout, kept in this browser: its steps, what each asks for, and what is told of it.

import { cents, hexToken } from "./cart.js";

const TAX = 0.08;
export const SHIPPING = { standard: { title: "Standard", price: 690 }, express: { title: "Express", price: 1490 } };
const STEPS = ["contact", "address", "shipping", "payment", "thank-you"];
const SUBMITTED = { contact: "checkout_contact_info_submitted", address: "checkout_address_info_submitted",
  shipping: "checkout_shipping_info_submitted", payment: "payment_info_submitted" };

export class Checkout {
  #key;
  #cart;

  constructor(token, cart) {
    this.token = token;
    this.#key = `sandbox.checkout.${token}`;
    this.#cart = cart;
    this.state = JSON.parse(localStorage.getItem(this.#key));
  }

  /** Begins one with what lies in the cart. */
  static begin(cart) {
    const checkout = new Checkout(hexToken(), cart);
    checkout.change({ lines: cart.lines });
    return checkout;
  }

  change(more) {
    this.state = { ...this.state, ...more };
    localStorage.setItem(this.#key, JSON.stringify(this.state));
  }

  /** Whether this is the first time that something is said of this checkout. */
  once(what) {
    if (this.state[what]) return false;
    this.change({ [what]: true });
    return true;
  }

  next(step) {
    return STEPS[STEPS.indexOf(step) + 1];
  }

  submitted(step) {
    return SUBMITTED[step];
  }

  get #subtotal() {
    return this.state.lines.reduce((sum, line) => sum + cents(line.merchandise.price) * line.quantity, 0);
  }

  get sums() {
    const subtotal = this.#subtotal;
    const tax = Math.round(subtotal * TAX);
    const shipping = this.state.shipping ? SHIPPING[this.state.shipping].price : null;
    return { subtotal, tax, shipping, total: subtotal + tax + (shipping ?? 0) };
  }

  /** As the checkout events carry it. What says who the shopper is stays null: the app has no approval to see it. */
  get data() {
    const { sums, state } = this;
    const money = (value) => this.#cart.money(value);
    return {
      token: this.token,
      attributes: [],
      buyerAcceptsEmailMarketing: Boolean(state.marketing),
      buyerAcceptsSmsMarketing: false,
      currencyCode: money(0).currencyCode,
      email: null,
      phone: null,
      smsMarketingPhone: null,
      billingAddress: null,
      shippingAddress: this.#address(),
      discountApplications: [],
      discountsAmount: money(0),
      lineItems: state.lines.map((line) => this.#lineItem(line)),
      localization: { country: { isoCode: state.country ?? null }, language: { isoCode: "en" },
        market: { id: "gid://shopify/Market/1", handle: "primary" } },
      order: state.order ? { id: state.order, customer: { id: null, isFirstOrder: true } } : null,
      delivery: this.#delivery(),
      shippingLine: sums.shipping === null ? null : { price: money(sums.shipping) },
      subtotalPrice: money(sums.subtotal),
      totalTax: money(sums.tax),
      totalPrice: money(sums.total),
      transactions: this.#transactions(),
    };
  }

  #address() {
    if (!this.state.country) return null;
    const hidden = ["address1", "address2", "firstName", "lastName", "phone", "zip"];
    return { ...Object.fromEntries(hidden.map((name) => [name, null])), city: this.state.city, country: this.state.country,
      countryCode: this.state.country, province: null, provinceCode: null };
  }

  #lineItem({ merchandise, quantity }) {
    return { id: merchandise.id, title: merchandise.product.title, quantity, variant: merchandise, properties: [],
      discountAllocations: [], finalLinePrice: this.#cart.money(cents(merchandise.price) * quantity),
      sellingPlanAllocation: null };
  }

  #delivery() {
    const handle = this.state.shipping;
    if (!handle) return null;
    const { title, price } = SHIPPING[handle];
    const cost = this.#cart.money(price);
    return { selectedDeliveryOptions: [{ handle, title, description: null, type: "shipping", cost,
      costAfterDiscounts: cost }] };
  }

  #transactions() {
    if (!this.state.order) return [];
    return [{ amount: this.#cart.money(this.sums.total), gateway: "bogus",
      paymentMethod: { type: "creditCard", name: "Bogus" } }];
  }
}
