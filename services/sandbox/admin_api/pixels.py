"""The app's web pixel at one shop through the Admin API."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from graphql import GraphQLError

from libs.common.clock import Clock
from services.sandbox.admin_api.values import denied
from services.sandbox.ledger import Ledger, WebPixel
from services.sandbox.scene import Json, gid

KIND = "WebPixel"
EXTENSION = Path(__file__).parents[3] / "extensions" / "web-pixel" / "shopify.extension.toml"
_FIELDS = ("accountID", "endpoint")


@cache
def setting_names() -> frozenset[str]:
    """What the pixel's settings consist of: by the extension's own file, where it is at hand."""
    if not EXTENSION.exists():
        return frozenset(_FIELDS)
    described = tomllib.loads(EXTENSION.read_text())
    return frozenset(described.get("settings", {}).get("fields", {}))


@dataclass(frozen=True, slots=True)
class Pixels:
    """Reads and changes the one pixel that an app may have at a shop."""

    ledger: Ledger
    clock: Clock
    shop: str
    scopes: frozenset[str]

    def fields(self) -> dict[str, Any]:
        return {
            "webPixel": self._one,
            "webPixelCreate": self._create,
            "webPixelUpdate": self._update,
            "webPixelDelete": self._delete,
        }

    def _one(self, _: object, id: str | None = None) -> Json:  # noqa: A002 - the argument's name in the schema
        """Shopify raises where others would give null."""
        self._may("webPixel")
        pixel = self._found(id)
        if pixel is None:
            raise GraphQLError(
                "No web pixel was found for this app.", extensions={"code": "RESOURCE_NOT_FOUND"}
            )
        return _node(pixel)

    def _create(self, _: object, webPixel: Json) -> Json:  # noqa: N803 - the argument's name in the schema
        self._may("webPixelCreate")
        if self._found(None) is not None:
            return _failed("TAKEN", "Web pixel is taken.", None)
        new = WebPixel(gid(KIND, self.ledger.new_id(self.clock.now().timestamp())), {})
        return self._put(new, webPixel)

    def _update(self, _: object, id: str, webPixel: Json) -> Json:  # noqa: A002, N803
        self._may("webPixelUpdate")
        known = self._found(id)
        if known is None:
            return _failed("NOT_FOUND", "Web pixel not found.", "id")
        return self._put(known, webPixel)

    def _put(self, pixel: WebPixel, wanted: Mapping[str, Any]) -> Json:
        settings = _settings(wanted["settings"])
        if settings is None:
            return _failed("INVALID_CONFIGURATION_JSON", "Settings are no JSON object.", "settings")
        if problem := _problem(settings):
            return _failed("INVALID_SETTINGS", problem, "settings")
        pixel.settings = settings
        self.ledger.store(self.shop).web_pixel = pixel
        self.ledger.save()
        return {"webPixel": _node(pixel), "userErrors": []}

    def _delete(self, _: object, id: str) -> Json:  # noqa: A002 - the argument's name in the schema
        self._may("webPixelDelete")
        known = self._found(id)
        if known is None:
            failed = _failed("NOT_FOUND", "Web pixel not found.", "id")
            return {"deletedWebPixelId": None, "userErrors": failed["userErrors"]}
        self.ledger.store(self.shop).web_pixel = None
        self.ledger.save()
        return {"deletedWebPixelId": known.id, "userErrors": []}

    def _found(self, identifier: str | None) -> WebPixel | None:
        pixel = self.ledger.look(self.shop).web_pixel
        return pixel if pixel is not None and identifier in {None, pixel.id} else None

    def _may(self, name: str) -> None:
        for scope in ("write_pixels", "read_customer_events"):
            if scope not in self.scopes:
                raise denied(name, scope)


def _settings(given: Any) -> dict[str, Any] | None:
    """Settings as an object, or as a string that holds one: both are taken."""
    try:
        found = orjson.loads(given) if isinstance(given, str) else given
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _problem(settings: Mapping[str, Any]) -> str | None:
    """What the settings lack or have too much, by the extension's schema."""
    names = setting_names()
    if missing := sorted(names - settings.keys()):
        return f"Missing keys: {', '.join(missing)}"
    if unknown := sorted(settings.keys() - names):
        return f"Unknown keys: {', '.join(unknown)}"
    wrong = sorted(name for name, value in settings.items() if not isinstance(value, str) or not value)
    return f"Invalid values: {', '.join(wrong)}" if wrong else None


def _node(pixel: WebPixel) -> Json:
    return {"id": pixel.id, "settings": orjson.dumps(pixel.settings).decode()}


def _failed(code: str, message: str, field: str | None) -> Json:
    path = ["webPixel"] if field in {None, "settings"} else [field]
    return {"webPixel": None, "userErrors": [{"code": code, "field": path, "message": message}]}
