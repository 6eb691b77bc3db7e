"""Ids and amounts as the pixel writes them, and as the app means them."""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import BeforeValidator

_GID = re.compile(r"gid://shopify/[A-Za-z0-9]+/([^/?\s]+)(?:\?.*)?")


def plain_id(value: object) -> object:
    """An id as Shopify's databases have it: `gid://shopify/Order/5` and 5 are both `5`; other texts stay."""
    if type(value) is int:
        return str(value)
    if isinstance(value, str) and (found := _GID.fullmatch(value)):
        return found[1]
    return value


def _amount(value: object) -> object:
    """Pixels write amounts as JSON numbers: what is exact about them is how they are written, not the float."""
    if type(value) is float or type(value) is int:
        return Decimal(str(value))
    if isinstance(value, str):
        try:
            return Decimal(value)
        except InvalidOperation:
            return value
    return value


Id = Annotated[str, BeforeValidator(plain_id)]
Amount = Annotated[Decimal, BeforeValidator(_amount)]
