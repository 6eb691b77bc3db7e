"""The web pixel's events as Shopify documents them (SHOPIFY 5.4): the envelope around what each of them carries."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

from libs.common.shopify.pixel_payloads import STANDARD, Payload


class Location(Payload):
    """Where a page is."""

    hash: str | None = None
    host: str | None = None
    hostname: str | None = None
    href: str | None = None
    origin: str | None = None
    pathname: str | None = None
    port: str | None = None
    protocol: str | None = None
    search: str | None = None


class Document(Payload):
    """A page."""

    character_set: str | None = None
    location: Location | None = None
    referrer: str | None = None
    title: str | None = None


class Navigator(Payload):
    """A browser."""

    cookie_enabled: bool | None = None
    language: str | None = None
    languages: list[str] | None = None
    user_agent: str | None = None


class Window(Payload):
    """A browser's window; its sizes are not named here, and kept."""

    location: Location | None = None
    origin: str | None = None


class EventContext(Payload):
    """What an event says of where it happened."""

    document: Document | None = None
    navigator: Navigator | None = None
    window: Window | None = None


Data = TypeVar("Data")


class Envelope(Payload, Generic[Data]):
    """An event as the pixel sends it. A custom one carries `customData` in the place of `data`."""

    id: str
    name: str
    timestamp: datetime
    type: str | None = None
    client_id: str | None = None
    seq: int | None = None
    context: EventContext | None = None
    data: Data | None = None
    custom_data: Any = None


def event(given: Mapping[str, Any]) -> Envelope[Any]:
    """The event in the model of its name, a custom one where Shopify has none; raises pydantic's `ValidationError`."""
    model = STANDARD.get(str(given.get("name"))) if given.get("type", "standard") == "standard" else None
    return (Envelope[model] if model else Envelope[Any]).model_validate(given)  # type: ignore[valid-type]
