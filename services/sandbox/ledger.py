"""What the sandbox's stores remember of the app: installs, codes and tokens. Kept in one file, if anywhere."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import orjson
from pydantic import TypeAdapter, ValidationError

from libs.common.errors import ConfigurationError


@dataclass(slots=True)
class Code:
    """What the consent page gives to the app. It can be turned into a token once."""

    scopes: str
    expires_at: float
    user: int | None = None  # for whom online access was asked
    used: bool = False


@dataclass(slots=True)
class Access:
    """An access token. Without an end it is one of the old kind."""

    scopes: str
    expires_at: float | None
    user: int | None = None


@dataclass(slots=True)
class Pair:
    """An expiring offline token with its refresh token."""

    access_token: str
    refresh_token: str
    scopes: str
    expires_at: float
    refresh_expires_at: float
    first_used_at: float | None = None  # since when there is a replacement


@dataclass(slots=True)
class Migrated:
    """A token without an end that became a pair, and until when asking again gives that pair."""

    access_token: str
    until: float


@dataclass(slots=True)
class WebPixel:
    """The app's pixel on a shop: at most one, with the settings that it runs with."""

    id: str
    settings: dict[str, str]


@dataclass(slots=True)
class Subscription:
    """A webhook subscription that the app made through the Admin API."""

    id: int
    topic: str  # as webhooks name it: orders/create
    uri: str
    created_at: float
    updated_at: float
    filter: str = ""
    name: str | None = None
    format: str = "JSON"
    include_fields: list[str] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)


@dataclass(slots=True)
class BulkOperation:
    """A query that is answered into a file."""

    id: int
    query: str
    created_at: float
    scopes: str  # that the app had when it asked
    file: str  # the name of the result, which nobody guesses
    grouped: bool = False  # whether children follow their parents at once
    status: str = "CREATED"
    error: str | None = None
    objects: int = 0
    roots: int = 0
    size: int = 0  # bytes of the file
    completed_at: float | None = None


@dataclass(slots=True)
class Store:
    """One shop's side of the app."""

    installed: bool = False
    scopes: str = ""
    codes: dict[str, Code] = field(default_factory=dict)
    access: dict[str, Access] = field(default_factory=dict)
    current: Pair | None = None
    previous: Pair | None = None  # used, but good for another try until its replacement is used
    migrated: Migrated | None = None
    web_pixel: WebPixel | None = None
    subscriptions: dict[str, Subscription] = field(default_factory=dict)  # by id
    bulk: dict[str, BulkOperation] = field(default_factory=dict)  # by id


_STORES = TypeAdapter(dict[str, Store])


class Ledger:
    """All stores."""

    def __init__(self, path: Path | None = None, stores: dict[str, Store] | None = None) -> None:
        self._path = path
        self.stores = stores or {}
        self._last_id = 0

    @classmethod
    def open(cls, path: Path) -> Self:
        """Reads the file where there is one."""
        try:
            return cls(path, _STORES.validate_json(path.read_bytes()) if path.exists() else None)
        except ValidationError:
            raise ConfigurationError(
                f"{path} cannot be read: delete it, and the sandbox starts anew"
            ) from None

    def look(self, shop: str) -> Store:
        """A store to read; one that nobody ever installed the app on is not remembered."""
        return self.stores.get(shop) or Store()

    def store(self, shop: str) -> Store:
        """A store to change."""
        return self.stores.setdefault(shop, Store())

    def new_id(self, now: float) -> int:
        """An id that nobody has: later ones are greater."""
        self._last_id = max(self._last_id + 1, int(now * 1000))
        return self._last_id

    def save(self) -> None:
        """Writes the file anew, for its owner's eyes: what the app holds tokens for has to be there tomorrow."""
        if self._path is None:
            return
        draft = self._path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(self.stores))
        draft.replace(self._path)
