"""Hears from Postgres which shops' tokens have ended, in every process that keeps some.

`token.rotated` and `shop.uninstalled` reach one process of a consumer. So auth tells all of them, in the transaction
that writes those messages, by NOTIFY.
"""

from collections.abc import Callable

from libs.common import news
from libs.common.clock import Clock
from libs.common.db import Connect

CHANNEL = "shopbus_tokens"
"""What is sent on it is the shop's domain."""


async def listen(
    connect: Connect, drop: Callable[[str], None], drop_all: Callable[[], None], clock: Clock
) -> None:
    """Drops the shops that are told, until cancelled."""
    await news.listen(connect, CHANNEL, drop, drop_all, clock, name="tokens")
