"""What a shopper does in a store of the sandbox, and what the page says of the events that come of it."""

from dataclasses import dataclass
from typing import Any, Literal

from playwright.async_api import BrowserContext, Page

Answer = Literal["accepted", "declined"]

STANDARD = {
    "page_viewed", "product_viewed", "collection_viewed", "search_submitted", "cart_viewed",
    "product_added_to_cart", "product_removed_from_cart", "checkout_started", "checkout_contact_info_submitted",
    "checkout_address_info_submitted", "checkout_shipping_info_submitted", "payment_info_submitted",
    "checkout_completed", "alert_displayed", "ui_extension_errored",
}  # fmt: skip
CUSTOM = {"size_guide_opened", "newsletter_joined"}

# What the page has told the pixel, newest first; and whether the pixel has put the newest of it where it is safe.
_ENTRIES = "JSON.parse(Object.entries(sessionStorage).find(([key]) => key.endsWith('.panel'))?.[1] ?? '[]')"
_TAKEN = f"""() => {{
    const kept = Object.keys(localStorage).filter((key) => key.startsWith("shopbus.pixel."));
    const entries = {_ENTRIES};
    return document.body?.dataset.ready && entries.length > 0 && entries.every(({{id, state}}) =>
        state !== "with the pixel" || kept.some((key) => key.endsWith(id)));
}}"""
_KEPT = "Object.keys(localStorage).filter((key) => key.startsWith('shopbus.pixel.')).length"


@dataclass(slots=True)
class Shopper:
    """One tab of a shopper."""

    page: Page
    root: str  # the store's front

    async def visit(self, path: str = "") -> None:
        if self.page.url.startswith(self.root):
            await self.taken()
        await self.page.goto(f"{self.root}{path}")
        await self.ready()

    async def ready(self) -> None:
        await self.page.wait_for_selector("body[data-ready]")

    async def decide(self, answer: Answer) -> None:
        if not await self.page.is_visible("#banner"):
            await self.page.click("#privacy")
        await self.page.click(f"#{answer}")

    async def agree(self) -> None:
        """Begins with consent, so that everything is seen from the first event on."""
        await self.visit()
        await self.decide("accepted")
        await self.page.wait_for_selector("body[data-pixel=loaded]")

    async def follow(self, selector: str, to: str) -> None:
        await self.taken()
        await self.page.click(selector)
        await self.page.wait_for_url(to)
        await self.ready()

    async def look_around(self) -> None:
        await self.follow("nav >> text=Clothing", "**/collections/clothing")
        await self.follow(".card", "**/products/*")
        await self.page.click("#guide")
        await self.page.click("#add")
        await self.visit("/search?q=wool&customer_token=abc")
        await self.visit("/account")
        await self.page.click("#newsletter button")

    async def fill_cart(self) -> None:
        await self.follow("#cart", "**/cart")
        await self.page.click(".more")
        await self.page.click(".less")

    async def buy(self) -> None:
        await self.follow("#checkout", "**/contact")
        await self.page.click("#continue")  # without an address for mail: an alert
        await self.page.fill("[name=email]", "ada@example.com")
        await self.follow("#continue", "**/address")
        for field, value in (("name", "Ada"), ("street", "1 Old Quay"), ("city", "Leeds")):
            await self.page.fill(f"[name={field}]", value)
        await self.follow("#continue", "**/shipping")
        await self.follow("#continue", "**/payment")
        await self.page.click("#gift")
        await self.page.fill("[name=card]", "1")
        await self.follow("#continue", "**/thank-you")

    async def shop(self) -> None:
        """A visit with every kind of event there is."""
        await self.look_around()
        await self.fill_cart()
        await self.buy()

    async def publish(self, count: int, characters: int = 0) -> None:
        """Custom events of a theme, all at once."""
        script = (
            "([count, characters]) => { for (let made = 0; made < count; made += 1)"
            " Shopify.analytics.publish('made_up', {made, text: 'x'.repeat(characters)}); }"
        )
        await self.page.evaluate(script, [count, characters])

    async def taken(self) -> None:
        """Waits until the pixel has everything that the pages told it."""
        await self.page.wait_for_function(_TAKEN)

    async def kept(self) -> int:
        """How many events the pixel keeps in the browser."""
        found: int = await self.page.evaluate(_KEPT)
        return found

    async def seen(self) -> list[dict[str, Any]]:
        """The panel's events of this tab, oldest first."""
        found: list[dict[str, Any]] = await self.page.evaluate(_ENTRIES)
        return found[::-1]


async def enter(context: BrowserContext, root: str) -> Shopper:
    """Another tab."""
    return Shopper(await context.new_page(), root)
