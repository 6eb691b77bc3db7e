"""What the app's pages ask and change of the shop's web pixel. The shop is that of the session token."""

import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson
from aiohttp import web

from libs.common.errors import ShopbusError
from libs.common.shopify.admin.errors import AdminError, Postponed, UserErrors
from libs.common.token_client import NeedsAuthorization, NotInstalled
from libs.common.web import Handler, Problem, json_response, read_body
from libs.common.web_session import caller
from services.ingest.extensions import Extensions

ADDRESS = "/ingest/extension"
MOST_HOSTS = 20
_BODY_BYTES, _BODY_SECONDS = 8_192, 5.0
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+")
_NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class ExtensionEndpoints:
    """The handlers, with what they need."""

    extensions: Extensions

    def routes(self, guard: Callable[[Handler], Handler]) -> list[web.RouteDef]:
        """What is answered to who shows a session token, whom `guard` lets in."""
        return [
            web.get(ADDRESS, guard(self.show), allow_head=False),
            web.put(ADDRESS, guard(self.activate)),
            web.delete(ADDRESS, guard(self.deactivate)),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """Our side and Shopify's, the keys, and which versions sent events."""
        return await _answer(self.extensions.show(caller(request).shop))

    async def activate(self, request: web.Request) -> web.Response:
        """Switches the pixel on; done again it mends what is out of step.

        The body may be empty or `{"rotate": true, "hosts": ["shop.example.com"]}`.
        """
        rotate, hosts = await _wishes(request)
        return await _answer(self.extensions.activate(caller(request).shop, rotate=rotate, hosts=hosts))

    async def deactivate(self, request: web.Request) -> web.Response:
        """Switches the pixel off."""
        return await _answer(self.extensions.deactivate(caller(request).shop))


async def _answer(work: Awaitable[dict[str, Any]]) -> web.Response:
    try:
        return json_response(await work, headers=_NO_STORE)
    except (AdminError, NotInstalled) as error:
        _refuse(error)


def _refuse(error: ShopbusError) -> NoReturn:
    """Shopify's refusals, as problems. Our side is changed all the same: the same request again goes on from there."""
    match error:
        case NotInstalled():
            problem = Problem(404, "the app is not installed on this shop", kind="not-installed")
        case NeedsAuthorization():
            problem = Problem(409, str(error), kind="needs-authorization")
        case Postponed():
            seconds = str(max(1, math.ceil(error.seconds)))
            problem = Problem(503, str(error), kind="shopify-later", headers={"Retry-After": seconds})
        case UserErrors():
            problem = Problem(422, str(error), kind="shopify-refused")
        case _:
            problem = Problem(502, str(error), kind="shopify-away")
    raise problem from error


async def _wishes(request: web.Request) -> tuple[bool, list[str] | None]:
    body = await read_body(request, limit=_BODY_BYTES, seconds=_BODY_SECONDS)
    try:
        given = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or not given.keys() <= {"rotate", "hosts"}:
        raise _bad("the body has to be nothing, or a JSON object with rotate and hosts")
    if not isinstance(given.get("rotate", False), bool):
        raise _bad("rotate has to be true or false")
    return given.get("rotate", False), _hosts(given.get("hosts"))


def _hosts(given: object) -> list[str] | None:
    if given is None:
        return None
    if not isinstance(given, list) or len(given) > MOST_HOSTS:
        raise _bad(f"hosts has to be a list of up to {MOST_HOSTS} names like shop.example.com")
    hosts = [name.lower() if isinstance(name, str) else "" for name in given]
    if not all(map(_HOST.fullmatch, hosts)):
        raise _bad("a host is a name like shop.example.com")
    return sorted(set(hosts))


def _bad(detail: str) -> Problem:
    return Problem(400, detail, kind="bad-parameter")
