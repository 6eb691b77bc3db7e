"""People put messages back to work, alone or by filter; each comes back once, and nothing else moves."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.topology import Lane
from libs.common.outbox.wakes import Wake, channel
from services.worker import service
from tests.integration.jobs_kit import JobsApi, open_jobs_api
from tests.integration.places import ORDERS, OTHER_SHOP, SHOP, Places, open_places
from tests.waiting import poll

ALL = "/api/jobs/retry"


class Runaway(SystemClock):
    """A clock on which every look takes an hour."""

    def __init__(self) -> None:
        self._hours = 0

    def monotonic(self) -> float:
        self._hours += 1
        return self._hours * 3600.0


@pytest.fixture
async def places(database: str) -> AsyncIterator[Places]:
    async with open_places(database) as opened:
        yield opened


@pytest.fixture
async def api(places: Places) -> AsyncIterator[JobsApi]:
    async with open_jobs_api(places.pool) as opened:
        yield opened


async def ready(places: Places) -> set[UUID]:
    """What can be claimed now."""
    rows = await places.pool.fetch(f"SELECT id FROM {places.source}.outbox WHERE leased_until IS NULL")  # noqa: S608
    return {row["id"] for row in rows}


class TestOne:
    @pytest.mark.parametrize("source", ["webhooks", "worker"])
    @pytest.mark.parametrize("place", ["failed", "completed", "scheduled"])
    async def test_what_rests_goes_back_to_work(
        self, api: JobsApi, places: Places, place: str, source: str
    ) -> None:
        message = await getattr(places.of(source), place)()
        answer = await api.post(f"/api/jobs/{message.id}/retry")
        assert answer == {"id": str(message.id), "status": "pending"}
        assert (await api.job(message.id))["status"] == "pending"
        assert await ready(places.of(source)) == {message.id}

    @pytest.mark.parametrize("place", ["pending", "queued", "processing"])
    async def test_what_is_on_its_way_is_left_alone(self, api: JobsApi, places: Places, place: str) -> None:
        message = await getattr(places, place)()
        before = await places.pool.fetch("SELECT * FROM webhooks.outbox")
        problem = await api.post(f"/api/jobs/{message.id}/retry", 409)
        assert problem["detail"].startswith(f"the message is {place} right now")
        assert await places.pool.fetch("SELECT * FROM webhooks.outbox") == before

    async def test_an_unknown_one_is_404(self, api: JobsApi) -> None:
        await api.post(f"/api/jobs/{uuid4()}/retry", 404)

    async def test_a_malformed_id_is_400(self, api: JobsApi) -> None:
        await api.post("/api/jobs/none/retry", 400)

    async def test_one_without_its_payload_is_gone(self, api: JobsApi, places: Places) -> None:
        message = await places.completed()
        await places.pool.execute("DELETE FROM webhooks.messages")
        assert (await api.post(f"/api/jobs/{message.id}/retry", 410))["type"].endswith("payload-gone")
        assert (await api.job(message.id))["status"] == "completed"
        assert await api.post(ALL, body={"status": "completed"}) == {
            "replayed": 0,
            "more": False,
            "next": None,
        }

    async def test_its_consumer_is_woken(self, api: JobsApi, places: Places, database: str) -> None:
        message = await places.failed()
        heard: list[Wake] = []
        listener = await asyncpg.connect(database)
        try:
            await listener.add_listener(
                channel("worker"), lambda *what: heard.append(Wake.parse(str(what[3])))
            )
            await api.post(f"/api/jobs/{message.id}/retry")
            assert await poll(lambda: heard) == [Wake("webhooks", Lane.DEFAULT, message.id)]
        finally:
            await listener.close()

    async def test_many_at_once_have_one_effect(self, api: JobsApi, places: Places) -> None:
        message = await places.failed()

        path = f"/api/jobs/{message.id}/retry"
        answers = await asyncio.gather(*(api.status("POST", path) for _ in range(8)))
        assert sorted(answers) == [202] + [409] * 7
        assert await ready(places) == {message.id}


class TestMany:
    async def test_the_plan_changes_nothing(self, api: JobsApi, places: Places) -> None:
        wanted = [await places.failed(), await places.of("worker").failed()]
        await places.completed()
        answer = await api.post(f"{ALL}?dry_run=1", 200, body={})
        assert answer == {"count": 2, "more": False, "next": None}
        assert sorted(await api.ids(status="failed")) == sorted(message.id for message in wanted)

    async def test_only_what_matches_moves(self, api: JobsApi, places: Places) -> None:
        noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
        wanted = await places.failed(shop=OTHER_SHOP, at=noon)
        others = [
            await places.failed(shop=SHOP, at=noon),
            await places.failed("webhook.shop.update", OTHER_SHOP, at=noon),
            await places.failed(shop=OTHER_SHOP, at=datetime(2026, 11, 19, tzinfo=UTC)),
            await places.failed(shop=OTHER_SHOP, at=datetime(2026, 11, 21, tzinfo=UTC)),
        ]
        await places.completed(shop=OTHER_SHOP, at=noon)
        which = {"status": "failed", "type": ORDERS, "shop": OTHER_SHOP}
        when = {"since": "2026-11-20T00:00:00Z", "until": "2026-11-20T23:00:00Z"}
        assert (await api.post(ALL, body=which | when))["replayed"] == 1
        assert await ready(places) == {wanted.id}
        assert sorted(await api.ids(status="failed")) == sorted(message.id for message in others)

    @pytest.mark.parametrize("status", ["failed", "completed", "pending"])
    async def test_page_after_page_until_all_are_back(
        self, api: JobsApi, places: Places, status: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "BATCH", 3)
        place = "scheduled" if status == "pending" else status
        ids = {(await getattr(places, place)()).id for _ in range(7)}
        answer = await api.post(ALL, body={"status": status})
        assert answer == {"replayed": 7, "more": False, "next": None}
        assert await ready(places) == ids

    async def test_a_limit_stops_it_and_next_goes_on(self, api: JobsApi, places: Places) -> None:
        ids = [(await places.completed()).id for _ in range(5)]
        first = await api.post(ALL, body={"status": "completed", "limit": 2})
        assert (first["replayed"], first["more"]) == (2, True)
        assert await ready(places) == set(ids[3:])
        rest = await api.post(ALL, body={"status": "completed", "cursor": first["next"]})
        assert (rest["replayed"], rest["more"]) == (3, False)
        assert await ready(places) == set(ids)

    async def test_it_answers_when_its_time_is_over(
        self, places: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "BATCH", 2)
        ids = {(await places.failed()).id for _ in range(5)}
        async with open_jobs_api(places.pool, Runaway()) as api:
            replayed, cursor, requests = 0, None, 0
            while requests == 0 or cursor:
                answer = await api.post(ALL, body={"cursor": cursor})
                replayed, cursor, requests = replayed + answer["replayed"], answer["next"], requests + 1
        assert (replayed, requests) == (5, 3)
        assert await ready(places) == ids

    async def test_a_bad_filter_moves_nothing(self, api: JobsApi, places: Places) -> None:
        await places.failed()
        bad: list[tuple[object, str]] = [
            ({"staus": "failed"}, "staus"),
            ({"status": "processing"}, "status"),
            ({"status": 7}, "status"),
            ({"limit": True}, "limit"),
            (["failed"], "the body"),
            (None, "the body"),
        ]
        for body, named in bad:
            assert (await api.post(ALL, 400, body=body))["detail"].startswith(f"{named} has to be ")
        assert await ready(places) == set()

    async def test_a_misspelt_plan_is_not_the_deed(self, api: JobsApi, places: Places) -> None:
        await places.failed()
        for query in ("dry_run=maybe", "dryrun=1", "status=completed"):
            await api.post(f"{ALL}?{query}", 400, body={})
        assert await ready(places) == set()
