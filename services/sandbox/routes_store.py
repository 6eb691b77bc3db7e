"""What people and tests do with a store: make things happen, and see what came of it."""

import asyncio
from dataclasses import dataclass

from aiohttp import web
from yarl import URL

from libs.common.web import Problem, json_response
from services.sandbox.admin_api.buckets import Buckets
from services.sandbox.grants import Grants
from services.sandbox.happenings import Happenings, Impossible
from services.sandbox.home import at_home, shop_of
from services.sandbox.overview import Overview, overview_of
from services.sandbox.scene import Json
from services.sandbox.stage import Stage

_MOST = 10_000  # at once; each holds its webhooks in memory until they are taken
_BREATH = 20
_ALL = 100


@dataclass(frozen=True, slots=True)
class StoreRoutes:
    """The buttons of a store's admin, and their programs' counterparts."""

    stage: Stage
    grants: Grants
    happenings: Happenings
    buckets: Buckets

    def routes(self) -> list[web.RouteDef]:
        store = URL(self.stage.url).path + "/{shop}/admin"
        return [
            web.post(f"{store}/happen", at_home(self.happen)),
            web.post(f"{store}/losses", at_home(self.lose)),
            web.post(f"{store}/late", at_home(self.late)),
            web.get(f"{store}/overview.json", at_home(self.overview_json)),
        ]

    async def overview(self, shop: str) -> Overview:
        await self.happenings.stock.open_in_pieces(shop)
        return overview_of(
            shop,
            self.happenings.stock,
            self.happenings.news,
            self.grants.ledger,
            self.buckets.of(shop),
            self.happenings.topics,
        )

    async def happen(self, request: web.Request) -> web.Response:
        """Form: `topic`, and `count` or the `number` of one resource. Programs are told the ids, people the page."""
        shop, form = shop_of(request), await request.post()
        topic, number = str(form.get("topic", "")), _whole(form.get("number"))
        count = _whole(form.get("count")) or 1
        if count > _MOST:
            raise Problem(422, f"at most {_MOST} things happen at once", kind="count")
        ids = await self._many(shop, topic, number, count)
        return self._done(request, shop, {"topic": topic, "ids": ids})

    async def lose(self, request: web.Request) -> web.Response:
        """Form: `percent` of all stores' deliveries to subscriptions that are not sent from now on."""
        shop, form = shop_of(request), await request.post()
        percent = _whole(form.get("percent")) or 0
        if percent > _ALL:
            raise Problem(422, "more than all cannot be lost", kind="percent")
        self.happenings.news.losses.share = percent / _ALL
        return self._done(request, shop, {"percent": percent})

    async def late(self, request: web.Request) -> web.Response:
        """What was lost of this store's deliveries comes after all."""
        shop = shop_of(request)
        return self._done(request, shop, {"late": self.happenings.news.late(shop)})

    def _done(self, request: web.Request, shop: str, facts: Json) -> web.Response:
        """Programs are told the facts, people the page."""
        if "application/json" in request.headers.get("Accept", ""):
            return json_response(facts)
        raise web.HTTPSeeOther(self.stage.admin(shop))

    async def overview_json(self, request: web.Request) -> web.Response:
        return json_response((await self.overview(shop_of(request))).shown())

    async def _many(self, shop: str, topic: str, number: int | None, count: int) -> list[int | None]:
        ids: list[int | None] = []
        for turn in range(count):
            try:
                ids.append(_id_in(await self.happenings.happen(shop, topic, number)))
            except Impossible as error:
                raise Problem(422, str(error), kind="impossible") from error
            if turn % _BREATH == 0:
                await asyncio.sleep(0)
        return ids


def _id_in(facts: Json) -> int | None:
    identifier = facts.get("id")
    return identifier if isinstance(identifier, int) else None


def _whole(value: object) -> int | None:
    if value is None or value == "":
        return None
    try:
        found = int(str(value))
    except ValueError:
        found = -1
    if found < 0:
        raise Problem(422, f"{value!r} is no number", kind="number")
    return found
