"""A message stands in exactly one place, and the job API says in which, whatever moves meanwhile."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import Lane
from services.worker import service
from tests.integration.jobs_kit import JobsApi, open_jobs_api
from tests.integration.places import EXPIRED, ORDERS, OTHER_SHOP, SHOP, Places, moving, open_places
from tests.servers.postgres import PostgresServer

PLACES = ("pending", "queued", "processing", "scheduled", "failed", "completed")
STATUS_OF = {name: name for name in PLACES} | {"scheduled": "pending"}


@pytest.fixture
async def places(database: str) -> AsyncIterator[Places]:
    async with open_places(database) as opened:
        yield opened


@pytest.fixture
async def api(places: Places) -> AsyncIterator[JobsApi]:
    async with open_jobs_api(places.pool) as opened:
        yield opened


async def put(places: Places, place: str, **how: str) -> Message:
    into: Callable[..., Awaitable[Message]] = getattr(places, place)
    return await into(**how)


async def one_everywhere(places: Places) -> dict[str, UUID]:
    return {place: (await put(places, place)).id for place in PLACES}


class TestOneJob:
    @pytest.mark.parametrize("source", ["webhooks", "worker"])
    @pytest.mark.parametrize("place", PLACES)
    async def test_its_place_is_its_status(
        self, api: JobsApi, places: Places, place: str, source: str
    ) -> None:
        message = await put(places.of(source), place)
        job = await api.job(message.id)
        assert job["status"] == STATUS_OF[place]
        assert (job["id"], job["source"], job["type"]) == (str(message.id), source, ORDERS)
        assert (job["shop"], job["lane"]) == (SHOP, "default")
        assert (job["correlation_id"], job["subject"]) == ("an-event", "gid://shopify/Order/1")

    async def test_attempts_tell_the_whole_story(self, api: JobsApi, places: Places) -> None:
        message = await places.scheduled()
        waiting = await api.job(message.id)
        assert [attempt["error"] for attempt in waiting["attempts"]] == ["it hurts"]
        assert (waiting["reason"], waiting["error"]) == ("retry", "it hurts")
        assert datetime.fromisoformat(waiting["next_attempt_at"]) > datetime.now(UTC)
        assert waiting["finished_at"] is None

        await places.rush(message)
        await places.complete(message, route="rabbitmq")
        done = await api.job(message.id)
        assert [attempt["error"] for attempt in done["attempts"]] == ["it hurts", None]
        assert [attempt["route"] for attempt in done["attempts"]] == ["postgres", "rabbitmq"]
        assert all(attempt["started_at"] <= attempt["finished_at"] for attempt in done["attempts"])
        assert (done["outcome"], done["handler"], done["route"]) == (
            "completed",
            "orders.keep_order",
            "rabbitmq",
        )
        assert (done["error"], done["reason"], done["next_attempt_at"], done["tries"]) == (
            None,
            None,
            None,
            2,
        )
        assert done["created_at"] <= done["finished_at"]

    async def test_a_failed_one_says_why(self, api: JobsApi, places: Places) -> None:
        job = await api.job((await places.failed()).id)
        assert (job["reason"], job["error"]) == ("exhausted", "it still hurts")
        assert [attempt["error"] for attempt in job["attempts"]] == ["it hurts", "it still hurts"]
        assert job["finished_at"] is not None

    async def test_attempts_from_before_a_replay_stay(self, api: JobsApi, places: Places) -> None:
        message = await places.completed(outcome="unhandled")
        await places.rush(message)
        await places.complete(message)
        job = await api.job(message.id)
        assert [attempt["outcome"] for attempt in job["attempts"]] == ["unhandled", "completed"]
        assert (job["outcome"], job["tries"]) == ("completed", 2)

    async def test_a_lease_that_ran_out_counts_for_nothing(self, api: JobsApi, places: Places) -> None:
        message = await places.claim(await places.pending(), EXPIRED)
        assert (await api.job(message.id))["status"] == "pending"

    async def test_one_that_moves_is_always_found(self, api: JobsApi, places: Places) -> None:
        message = await places.pending()
        moves = 0

        async def move() -> None:
            nonlocal moves
            while True:
                await places.fail_once(message)
                await places.rush(message)
                await places.complete(message)
                await places.rush(message)
                await places.give_up(message)
                await places.rush(message)
                moves += 6

        seen: set[str] = set()
        looks = 0
        async with moving(move()) as check:
            while looks < 100 or moves < 60 or len(seen) < 3:
                seen.add((await api.job(message.id))["status"])
                looks += 1
                check()
        assert seen == {"pending", "failed", "completed"}

    async def test_an_unknown_id_is_404(self, api: JobsApi) -> None:
        assert (await api.get(f"/api/jobs/{uuid4()}", 404))["type"] == "urn:shopbus:problem:no-such-job"

    async def test_a_malformed_id_is_400(self, api: JobsApi) -> None:
        assert "id has to be" in (await api.get("/api/jobs/1234", 400))["detail"]

    async def test_a_message_of_other_consumers_only_is_none_of_ours(
        self, api: JobsApi, places: Places
    ) -> None:
        message = await places.pending()
        await places.pool.execute("DELETE FROM webhooks.outbox")
        await api.get(f"/api/jobs/{message.id}", 404)
        assert await api.ids() == []


async def test_without_the_token_every_door_is_closed(api: JobsApi) -> None:
    doors = [("GET", path) for path in ("/api/jobs", "/api/stats", f"/api/jobs/{uuid4()}", "/api/jobs/x")]
    doors += [("POST", path) for path in ("/api/jobs/retry", f"/api/jobs/{uuid4()}/retry")]
    for token in ("", "another token"):
        assert {await api.status(*door, token=token) for door in doors} == {401}


class TestLists:
    async def test_newest_first_over_all_places_and_sources(self, api: JobsApi, places: Places) -> None:
        first = await one_everywhere(places)
        second = await one_everywhere(places.of("worker"))
        everything = sorted([*first.values(), *second.values()], reverse=True)
        assert await api.ids() == everything
        assert await api.all_ids(limit=1) == everything
        assert await api.all_ids(limit=5) == everything

    @pytest.mark.parametrize("status", sorted(set(STATUS_OF.values())))
    async def test_by_status(self, api: JobsApi, places: Places, status: str) -> None:
        standing = [await one_everywhere(places.of(source)) for source in ("worker", "webhooks")]
        wanted = [ids[place] for ids in standing for place in PLACES if STATUS_OF[place] == status]
        jobs = (await api.get("/api/jobs", status=status))["jobs"]
        assert [UUID(job["id"]) for job in jobs] == sorted(wanted, reverse=True)
        assert {job["status"] for job in jobs} == {status}
        assert await api.all_ids(status=status, limit=1) == sorted(wanted, reverse=True)

    async def test_a_list_says_the_same_as_the_job_itself(self, api: JobsApi, places: Places) -> None:
        for place, message_id in (await one_everywhere(places)).items():
            job = await api.job(message_id)
            for query in ({}, {"status": STATUS_OF[place]}):
                jobs = (await api.get("/api/jobs", **query))["jobs"]
                listed = next(entry for entry in jobs if entry["id"] == str(message_id))
                assert listed == {name: job[name] for name in listed}
                assert {"id", "type", "shop", "status", "tries", "created_at", "finished_at"} <= set(listed)

    @pytest.mark.parametrize("place", PLACES)
    async def test_by_type_and_shop(self, api: JobsApi, places: Places, place: str) -> None:
        wanted = (await put(places, place, kind="webhook.shop.update", shop=OTHER_SHOP)).id
        await put(places, place, kind="webhook.shop.update", shop=SHOP)
        await put(places, place, kind=ORDERS, shop=OTHER_SHOP)
        exactly = {"type": "webhook.shop.update", "shop": OTHER_SHOP}
        assert await api.ids(**exactly) == [wanted]
        assert await api.ids(**exactly, status=STATUS_OF[place]) == [wanted]
        assert await api.ids(type="webhook.shop") == []

    @pytest.mark.parametrize("place", PLACES)
    async def test_by_time(self, api: JobsApi, places: Places, place: str) -> None:
        noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
        ids = [(await put(places, place, at=noon + timedelta(hours=h))).id for h in (-1, 0, 1)]  # type: ignore[arg-type]
        status = STATUS_OF[place]
        for more in ({}, {"status": status}):
            assert await api.ids(since=noon.isoformat(), **more) == [ids[2], ids[1]]
            assert await api.ids(until=noon.isoformat(), **more) == [ids[0]]
            assert await api.ids(since="2026-11-20T12:00", until="2026-11-20T14:00:00+01:00", **more) == [
                ids[1]
            ]

    @pytest.mark.parametrize("place", PLACES)
    async def test_a_rare_answer_is_looked_for_in_steps(
        self, api: JobsApi, places: Places, place: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "SCAN_DEPTH", 3)
        rare = [(await put(places, place, shop=OTHER_SHOP)).id]
        for _ in range(7):
            await put(places, place)
        rare.append((await put(places.of("worker"), place, shop=OTHER_SHOP)).id)
        assert await api.ids(shop=OTHER_SHOP) != rare[::-1], "one page looked further than it may"
        assert await api.all_ids(shop=OTHER_SHOP) == rare[::-1]
        assert await api.all_ids(shop=OTHER_SHOP, status=STATUS_OF[place]) == rare[::-1]

    async def test_lanes_are_one_list(self, api: JobsApi, places: Places) -> None:
        ids = [(await places.pending(lane=lane)).id for lane in [*Lane, *reversed(Lane)]]
        assert await api.all_ids(status="pending", limit=3) == ids[::-1]

    async def test_moving_messages_are_listed_once_each(self, api: JobsApi, places: Places) -> None:
        message = await places.pending()

        async def move() -> None:
            while True:
                await places.fail_once(message)
                await places.rush(message)

        async with moving(move()) as check:
            for _ in range(60):
                assert await api.ids(status="pending") == [message.id]
                check()

    async def test_a_bad_parameter_is_named(self, api: JobsApi) -> None:
        for name, value in {"status": "lost", "limit": "201", "cursor": "!", "state": "failed"}.items():
            problem = await api.get("/api/jobs", 400, **{name: value})
            assert problem["type"] == "urn:shopbus:problem:bad-parameter"
            assert problem["detail"].startswith(f"{name} has to be ")

    async def test_empty_parameters_are_none(self, api: JobsApi, places: Places) -> None:
        message = await places.pending()
        assert await api.ids(status="", type="", shop="", since="", cursor="") == [message.id]


async def test_while_postgres_is_away_callers_are_asked_to_come_again(
    postgres: PostgresServer, api: JobsApi, places: Places
) -> None:
    message = await places.pending()
    postgres.stop("immediate")
    for path in ("/api/jobs", f"/api/jobs/{message.id}", "/api/stats"):
        assert (await api.get(path, 503))["type"] == "urn:shopbus:problem:database-away"
    postgres.start()
    assert await api.ids() == [message.id]
