"""Who may see the sandbox's pages, and whose store they are."""

from aiohttp import web

from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain
from libs.common.web import Handler, Problem, note

_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


def at_home(handler: Handler) -> Handler:
    """Only browsers of this machine pass, and no page of another origin may play the merchant."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if request.url.host not in _LOCAL or request.remote not in _LOCAL:
            raise Problem(403, "the sandbox answers on this machine only", kind="not-local")
        origin = request.headers.get("Origin")
        if origin is not None and request.method == "POST" and origin != str(request.url.origin()):
            raise Problem(403, "this is for pages of the sandbox", kind="origin")
        return await handler(request)

    return guarded


def shop_of(request: web.Request) -> str:
    """The store that a request's path names."""
    try:
        shop = shop_domain(request.match_info["shop"])
    except InvalidShopDomain:
        raise Problem(404, "there is no such store", kind="shop") from None
    note(request, shop=shop)
    return shop
