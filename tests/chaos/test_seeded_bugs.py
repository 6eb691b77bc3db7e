"""The checker sees each known way to get the protocol wrong, and nothing where the same is done to a healthy system."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from tests.chaos.bugs import BUGS
from tests.chaos.checker import NAMES
from tests.chaos.lab import Lab, Verdict
from tests.chaos.provocations import PROVOCATIONS
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode

_AT_ONCE = 4  # small worlds, which mostly wait

Verdicts = Mapping[str, "asyncio.Task[Verdict]"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def verdicts(
    request: pytest.FixtureRequest,
    postgres_server: PostgresServer,
    rabbit_node: RabbitNode,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Verdicts]:
    """What comes of each provocation and of each bug that a test here asks for. They do not wait for their tests."""
    lab = Lab(postgres_server, rabbit_node, migrated_template, tmp_path_factory.mktemp("lab"))
    places = asyncio.Semaphore(_AT_ONCE)

    async def verdict(name: str) -> Verdict:
        bug = BUGS.get(name)
        async with places:
            return await lab.play(PROVOCATIONS[bug.provoke if bug else name], bug)

    items = [item for item in request.session.items if item.path == request.path]
    asked = [getattr(item, "callspec", None) for item in items]
    names = [str(call.params["name"]) for call in asked if call is not None]
    tasks = {name: asyncio.create_task(verdict(name)) for name in names}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


def test_every_rule_has_a_bug_that_breaks_it() -> None:
    """But for those that no bug of the protocol breaks alone: a part that fails, and a story told by the API alone."""
    expected = frozenset().union(*(bug.expected_rules for bug in BUGS.values()))
    assert set(NAMES) - expected == {"part_failed", "status_untrue"}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", PROVOCATIONS)
async def test_a_healthy_system_takes_it(verdicts: Verdicts, name: str) -> None:
    verdict = await verdicts[name]
    assert verdict.found == [], verdict.story


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", BUGS)
async def test_the_checker_sees_it(verdicts: Verdicts, name: str) -> None:
    verdict = await verdicts[name]
    assert BUGS[name].expected_rules <= verdict.rules, verdict.story
