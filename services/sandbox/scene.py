"""What a payload is drawn from: a seeded source of numbers, a store, and the moment Shopify noticed."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from random import Random
from typing import Any

from services.sandbox.catalog import FIRST_NAMES, LAST_NAMES, MARKETS, PLACES, STREETS

Json = dict[str, Any]

SMALLEST_ID, LARGEST_ID = 1 << 59, (1 << 63) - 1  # beyond 2^53: whoever reads ids as floats shall notice


@dataclass(frozen=True, slots=True)
class Store:
    """A store as it always is: everything about it follows from its domain."""

    domain: str
    id: int
    currency: str
    zone_name: str
    zone_label: str
    zone: timezone
    place: tuple[Any, ...]

    @property
    def name(self) -> str:
        return self.domain.removesuffix(".myshopify.com").replace("-", " ").title()


@lru_cache(maxsize=4096)
def store_of(domain: str) -> Store:
    """The store behind a domain."""
    draw = Random(f"store:{domain}")
    market = draw.randrange(len(MARKETS))
    currency, zone_name, hours, label = MARKETS[market]
    zone = timezone(timedelta(hours=hours))
    return Store(domain, draw.randrange(10**10, 10**11), currency, zone_name, label, zone, PLACES[market])


@dataclass(frozen=True, slots=True)
class Cast:
    """Whom and what an order is about, where its store knows them: payloads of a customer and of products."""

    customer: Json | None
    products: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """One resource of one store. The same seed, kind and number give the same resource under every topic."""

    seed: int
    number: int
    store: Store
    now: datetime
    draw: Random
    cast: Cast | None = None  # None: an order makes up its own buyer and goods

    @classmethod
    def of(cls, domain: str, kind: str, *, seed: int, number: int, now: datetime) -> "Scene":
        draw = Random(f"{seed}:{domain}:{kind}:{number}")
        return cls(seed, number, store_of(domain), now, draw)

    def other(self, kind: str) -> "Scene":
        """The resource of another kind with the same number, for example the order of a refund."""
        return Scene.of(self.store.domain, kind, seed=self.seed, number=self.number, now=self.now)

    def id(self) -> int:
        return self.draw.randrange(SMALLEST_ID, LARGEST_ID)

    def token(self) -> str:
        return f"{self.draw.getrandbits(128):032x}"

    def maybe(self) -> bool:
        return bool(self.draw.getrandbits(1))

    def pick(self, choices: tuple[Any, ...]) -> Any:
        return self.draw.choice(choices)

    def time(self, minutes_ago: float = 0) -> str:
        """ISO 8601 in the store's own zone, to the second, as Shopify writes times."""
        moment = self.now - timedelta(minutes=minutes_ago)
        return moment.astimezone(self.store.zone).isoformat(timespec="seconds")

    def money(self, cents: int) -> Json:
        """An amount in the store's and in the buyer's currency, which are the same here."""
        both = {"amount": amount(cents), "currency_code": self.store.currency}
        return {"shop_money": both, "presentment_money": both}


def amount(cents: int) -> str:
    """Money as Shopify writes it: a decimal string."""
    sign, cents = ("-" if cents < 0 else ""), abs(cents)
    return f"{sign}{cents // 100}.{cents % 100:02d}"


def gid(resource: str, identifier: int) -> str:
    """The global id of the Admin API."""
    return f"gid://shopify/{resource}/{identifier}"


def handle_of(title: str) -> str:
    """The part of a URL that stands for a title."""
    words = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in title.lower())
    return "-".join(words.split())


def person(scene: Scene) -> Json:
    """Somebody with a name, an address for mail that goes nowhere, and a telephone that does not ring."""
    first, last = scene.pick(FIRST_NAMES), scene.pick(LAST_NAMES)
    mailbox = hashlib.blake2s(f"{first}{last}{scene.number}".encode(), digest_size=4).hexdigest()
    return {
        "first_name": first,
        "last_name": last,
        "email": f"buyer-{mailbox}@example.com",
        "phone": f"+1555{scene.draw.randrange(1_000_000, 2_000_000)}" if scene.maybe() else None,
    }


def address(scene: Scene, who: Json) -> Json:
    """A postal address with a person's name on it."""
    city, province, province_code, postcode, country, country_code, latitude, longitude = scene.pick(PLACES)
    return {
        "first_name": who["first_name"],
        "last_name": who["last_name"],
        "name": f"{who['first_name']} {who['last_name']}",
        "company": None,
        "address1": f"{scene.draw.randrange(1, 240)} {scene.pick(STREETS)}",
        "address2": None,
        "city": city,
        "zip": postcode,
        "province": province,
        "province_code": province_code,
        "country": country,
        "country_code": country_code,
        "phone": who["phone"],
        "latitude": latitude,
        "longitude": longitude,
    }
