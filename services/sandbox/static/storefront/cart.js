// The shopper's cart, in this browser, and what is told of it.

export class Cart {
  #key;
  #currency;

  constructor({ myshopifyDomain, currencyCode }) {
    this.#key = `sandbox.${myshopifyDomain}.cart`;
    this.#currency = currencyCode;
  }

  get lines() {
    return this.#read().lines;
  }

  get count() {
    return this.lines.reduce((sum, line) => sum + line.quantity, 0);
  }

  get total() {
    return this.money(this.lines.reduce((sum, line) => sum + cents(line.merchandise.price) * line.quantity, 0));
  }

  /** As cart_viewed carries it. */
  get data() {
    const { id, lines } = this.#read();
    return { id, attributes: [], lines: lines.map((line) => this.line(line.merchandise, line.quantity)),
      totalQuantity: this.count, cost: { totalAmount: this.total } };
  }

  /** As product_added_to_cart and product_removed_from_cart carry it. */
  line(merchandise, quantity) {
    return { merchandise, quantity, cost: { totalAmount: this.money(cents(merchandise.price) * quantity) } };
  }

  /** Changes how many of a variant there are; none left, and its line goes. */
  change(merchandise, by) {
    const cart = this.#read();
    const line = cart.lines.find((one) => one.merchandise.id === merchandise.id);
    if (line) line.quantity += by;
    else cart.lines.push({ merchandise, quantity: by });
    cart.lines = cart.lines.filter(({ quantity }) => quantity > 0);
    localStorage.setItem(this.#key, JSON.stringify(cart));
  }

  empty() {
    localStorage.removeItem(this.#key);
  }

  money(inCents) {
    return { amount: inCents / 100, currencyCode: this.#currency };
  }

  #read() {
    return JSON.parse(localStorage.getItem(this.#key)) ?? { id: hexToken(), lines: [] };
  }
}

export const cents = ({ amount }) => Math.round(amount * 100);

export const hexToken = () => crypto.randomUUID().replaceAll("-", "");

export const shown = ({ amount, currencyCode }) =>
  new Intl.NumberFormat(document.documentElement.lang, { style: "currency", currency: currencyCode }).format(amount);
