"""The one spelling of a shop's domain. It is the tenancy key, so nothing else may pass (SHOPIFY 1.6)."""

import re
from functools import lru_cache

from libs.common.errors import ShopbusError

MAX_LENGTH = 255
_SHOP = re.compile(r"[a-z0-9][a-z0-9-]*\.myshopify\.com")


class InvalidShopDomain(ShopbusError):
    """Something else stands where the myshopify.com domain of a shop belongs."""


@lru_cache(maxsize=4096)
def shop_domain(text: str) -> str:
    """Returns the domain in its one spelling; raises `InvalidShopDomain`.

    Only ASCII is lower-cased: the Kelvin sign and its like must not turn into a letter of another shop's name.
    """
    domain = text.strip().lower() if text.isascii() else ""
    if len(domain) > MAX_LENGTH or _SHOP.fullmatch(domain) is None:
        raise InvalidShopDomain
    return domain
