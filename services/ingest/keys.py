"""Which shop a public key stands for: asked of Postgres once in a while, together with other keys, and remembered."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence

from cachetools import TTLCache

from libs.common.outbox.group_commit import GroupCommit
from services.ingest.store import KnownKey

_FORM = re.compile(r"sbp_[0-9a-f]{32}")
_KEPT, _UNKNOWN_KEPT = 50_000, 20_000  # apart, so that a flood of made-up keys pushes out no real one

Find = Callable[[Sequence[str]], Awaitable[Mapping[str, KnownKey]]]
"""Asks Postgres for those of some keys that it knows."""


def new_key() -> str:
    """A public key: it names a shop's extension and is no secret, but nobody guesses it."""
    return f"sbp_{secrets.token_hex(16)}"


class Keys:
    """Remembers keys, and also that there is none, for some seconds: that long a change needs to be seen everywhere."""

    def __init__(self, find: Find, seconds: float) -> None:
        self._known: TTLCache[str, KnownKey] = TTLCache(_KEPT, seconds)
        self._unknown: TTLCache[str, None] = TTLCache(_UNKNOWN_KEPT, seconds)
        self._lookups: GroupCommit[str, KnownKey | None] = GroupCommit(
            lambda keys: _found(find, keys), size=len, writers=1
        )

    async def find(self, key: str) -> KnownKey | None:
        """What the key stands for, if anything; raises `DatabaseAway`."""
        known = self._known.get(key)
        if known is not None or key in self._unknown or not _FORM.fullmatch(key):
            return known
        found = await self._lookups.submit(key)
        if found is None:
            self._unknown[key] = None
        else:
            self._known[key] = found
        return found

    def forget(self, keys: Sequence[str]) -> None:
        """What these keys stand for has changed."""
        for key in keys:
            self._known.pop(key, None)
            self._unknown.pop(key, None)

    async def close(self) -> None:
        """Waits for lookups under way."""
        await self._lookups.close()


async def _found(find: Find, keys: Sequence[str]) -> list[KnownKey | Exception | None]:
    known = await find(list(dict.fromkeys(keys)))
    return [known.get(key) for key in keys]
