"""The same small job through other projects and through ours: one row written, in settings that lose nothing."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import asyncpg

from bench import fill, stage
from bench.effects import Effects, EffectsMissing
from bench.feeder import Feeder
from bench.processes import ROOT, Processes
from bench.result import Result, Table, median
from bench.rounds import interleaved, ratio
from bench.scale import Scale
from bench.stage import Stage

PEERS = {
    "pgqueuer": "pgqueuer", "procrastinate": "procrastinate", "faststream-outbox": "faststream_outbox",
    "awa-pg": "awa_pg", "celery": "celery", "dramatiq": "dramatiq", "taskiq-aio-pika": "taskiq_aio_pika",
}  # fmt: skip
OURS = {
    "shopbus, one transaction a message": "one",
    "shopbus, 50 sharing one": "together",
    "shopbus, batches of 100": "batch",
}

_JOBS = 800  # for each second of the scale: the slowest take some seconds for a second's worth
_OUR_JOBS = 3_000
_MOST_SECONDS = 90.0
_CORES = os.cpu_count() or 1
_OWN_PROCESSES = {"celery", "dramatiq", "taskiq_aio_pika"}  # which start one for each core themselves

NOTE = (
    "Enqueued first, by the quickest way its documentation names, and worked off then: jobs per second "
    "without the start and the end. Each peer as its own documentation tunes it, in durable settings "
    "(bench/peer/*.py name the pages), and all with a worker process for each core. Once in effect is only "
    "shopbus: with the peers a job whose worker dies between its row and its end writes the row again. None of "
    "the peers works on jobs in batches, so batches are compared with their best."
)


@dataclass(frozen=True, slots=True)
class Jobs:
    """Jobs per second."""

    put: float
    done: float


async def run(scale: Scale) -> Result:
    """Each side with a database, and where it needs one a vhost, of its own."""
    with stage.opened(rabbit=True) as servers, Processes({}) as processes:
        async with _ours(servers, processes, scale) as ours:
            theirs = {name: partial(_peer, servers, module, scale) for name, module in PEERS.items()}
            missing: dict[str, str] = {}
            sides: dict[str, Callable[[], Awaitable[Jobs | None]]] = {
                **ours,
                **{name: partial(_or_missing, missing, name, run) for name, run in theirs.items()},
            }
            figures = await interleaved(sides, scale.few_rounds, scale.progress)
    return _result(figures, missing)


@asynccontextmanager
async def _ours(
    servers: Stage, processes: Processes, scale: Scale
) -> AsyncIterator[dict[str, Callable[[], Awaitable[Jobs]]]]:
    url = await servers.database("ours")
    for _ in range(_CORES):
        await processes.started("services.worker", **stage.environment(url))
    conn = await asyncpg.connect(url)
    try:
        yield {name: partial(_drained, servers, conn, kind, scale) for name, kind in OURS.items()}
    finally:
        await conn.close()


async def _drained(servers: Stage, conn: asyncpg.Connection, kind: str, scale: Scale) -> Jobs:
    """The backlog is made in one statement; accepting is measured apart, on a database where nobody works."""
    put = await _accepted(servers, scale)
    number = round(_OUR_JOBS * scale.seconds)
    effects = Effects(conn)
    await fill.fill(conn, number, f"webhook.bench.{kind}")
    await effects.wait(number)
    done = await effects.pace()
    await fill.forget(conn)
    return Jobs(put, done)


async def _accepted(servers: Stage, scale: Scale) -> float:
    number, name = round(_OUR_JOBS * scale.seconds), "accepting"
    url = await servers.database(name)
    async with Feeder.opened(stage.environment(url)) as feeder:
        started = asyncio.get_running_loop().time()
        await feeder.accept(number, "webhook.bench.one")
        seconds = asyncio.get_running_loop().time() - started
    servers.postgres.drop_database(name)
    return number / seconds


async def _peer(servers: Stage, module: str, scale: Scale) -> Jobs:
    number, name = round(_JOBS * scale.seconds), f"peer_{module}"
    url = await servers.database(name)
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": os.environ.get("HOME", "/tmp"),  # noqa: S108
        "DATABASE_URL": url, **servers.broker(),
    }  # fmt: skip
    seconds = await _put(module, number, environment)
    done = await _worked_off(module, number, url, environment)
    servers.postgres.drop_database(name)
    return Jobs(number / seconds, done)


async def _put(module: str, number: int, environment: Mapping[str, str]) -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"bench.peer.{module}", "put", str(number),
        env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    said, complaint = await process.communicate()
    if process.returncode:
        raise EffectsMissing(complaint.decode().strip().splitlines()[-1])
    return float(said.decode().splitlines()[-1])


async def _worked_off(module: str, number: int, url: str, environment: Mapping[str, str]) -> float:
    """Peers may write a row twice; with nothing killed none of them does, and then it would be counted as one."""
    conn = await asyncpg.connect(url)
    try:
        with Processes(environment, quiet=True) as workers:
            for _ in range(1 if module in _OWN_PROCESSES else _CORES):
                workers.launched("bench.peer." + module, "work")
            effects = Effects(conn)
            try:
                await effects.wait(number, within=_MOST_SECONDS)
            except EffectsMissing as error:
                raise EffectsMissing(f"{error}; it said last: {_last_line(workers.log)}") from error
            return await effects.pace()
    finally:
        await conn.close()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"


async def _or_missing(missing: dict[str, str], name: str, run: Callable[[], Awaitable[Jobs]]) -> Jobs | None:
    """A peer that cannot run here is told of with its reason, in every round anew."""
    try:
        return await run()
    except (EffectsMissing, ModuleNotFoundError) as error:
        missing[name] = str(error)
        return None


def _result(figures: Mapping[str, list[Jobs | None]], missing: Mapping[str, str]) -> Result:
    here = {
        name: [jobs for jobs in rounds if jobs] for name, rounds in figures.items() if name not in missing
    }
    done = {name: [jobs.done for jobs in rounds] for name, rounds in here.items()}
    best = [max(rates) for rates in zip(*(done[name] for name in PEERS if name in done), strict=True)]
    one, together, batch = (done[name] for name in OURS)
    rows = [
        (_named(name), median([jobs.put for jobs in rounds]), median(done[name]))
        for name, rounds in here.items()
    ]
    return Result(
        "peers",
        "The same job through other projects",
        ratios=(
            ratio("one transaction a message ÷ the best peer", one, best, target=1.0),
            ratio("50 sharing one ÷ the best peer", together, best, target=3.0),
            ratio("batches of 100 ÷ the best peer", batch, best, target=1.0),
        ),
        tables=(Table(("", "enqueued/s", "worked off/s"), rows),),
        notes=(NOTE, *(f"{name} could not be measured here: {why}" for name, why in missing.items())),
    )


def _named(name: str) -> str:
    return f"{name} {version(name)}" if name in PEERS else name
