"""What a process serves, and how it starts, says that it is ready, and stops."""

import asyncio
import errno
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from libs.common import logs
from libs.common.errors import ConfigurationError, ShopbusError
from libs.common.metrics import describe_build, exposition, loop_lag_sampled
from libs.common.settings import CommonSettings
from libs.common.tasks import ailing_parts
from libs.common.web import UNMATCHED, Observer, json_response, unmatched

Check = Callable[[], Awaitable[str | None]]
Note = Callable[[], str | None]
AnySettings = TypeVar("AnySettings", bound=CommonSettings)

CHECK_SECONDS = 2.0
RUNNER_OPTIONS: Mapping[str, Any] = {
    "access_log": None,  # the observer writes the one line
    "auto_decompress": False,  # signatures are over the bytes as received, and no small body becomes huge
    "keepalive_timeout": 75.0,  # longer than a proxy's, so that it is the proxy that closes
    "lingering_time": 3.0,  # seconds for which an unread body is read on, so that its answer arrives
}
BACKLOG = 1024  # Shopify waits one second for a connection; a burst waits in the kernel meanwhile

_log = logs.logger("service")


@dataclass(frozen=True, slots=True)
class Service:
    """One service of a process; several can share one port."""

    name: str
    routes: Sequence[web.RouteDef]
    checks: Mapping[str, Check] = field(default_factory=dict)  # None is fine, else words why not ready
    notes: Mapping[str, Note] = field(default_factory=dict)  # worth knowing, but no reason to be unready


def build_app(services: Sequence[Service], observer: Observer | None = None) -> web.Application:
    """The routes of all services, with `/healthz`, `/readyz` and `/metrics` beside them."""
    observer = observer or Observer()
    app = web.Application()
    name = process_name(services)
    owned = [(service.name, route) for service in services for route in service.routes]
    owned += [(name, route) for route in _own_routes(services)]
    for owner, route in owned:
        handler = observer.around(route.handler, service=owner, route=route.path)
        web.RouteDef(route.method, route.path, handler, route.kwargs).register(app.router)
    app.router.add_route("*", "/{rest:.*}", observer.around(unmatched, service=name, route=UNMATCHED))
    return app


def process_name(services: Sequence[Service]) -> str:
    """The name under which a process counts what belongs to none of its services alone."""
    return services[0].name if len(services) == 1 else "shopbus"


async def serve(
    services: Sequence[Service], settings: CommonSettings, *, started: Callable[[int], None] | None = None
) -> None:
    """Serves on `settings.host:settings.port` until it is cancelled, then lets running requests finish.

    `started` is told the port once it listens. Raises `ConfigurationError` where the address cannot be taken.
    """
    describe_build()
    observer = Observer()
    runner = web.AppRunner(
        build_app(services, observer), shutdown_timeout=settings.shutdown_seconds, **RUNNER_OPTIONS
    )
    await runner.setup()
    try:
        port = await _listen(runner, settings)
        if started is not None:
            started(port)
        async with loop_lag_sampled(process_name(services)):
            await asyncio.Event().wait()
    finally:
        observer.stopping = True
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: CommonSettings) -> int:
    site = web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        raise ConfigurationError(_why_not_listening(error, settings)) from error
    return site.port


def _why_not_listening(error: OSError, settings: CommonSettings) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {settings.port} is taken by another program; set PORT=…"
    if error.errno == errno.EACCES:
        return f"port {settings.port} needs rights that this user does not have; set PORT=…"
    return f"cannot listen on {settings.host}:{settings.port}; set HOST=… or PORT=…"


def _own_routes(services: Sequence[Service]) -> list[web.RouteDef]:
    async def healthz(_: web.Request) -> web.Response:
        return json_response({"alive": True})

    async def readyz(_: web.Request) -> web.Response:
        reasons = await _reasons(services)
        return json_response(
            {"ready": not reasons, "reasons": reasons, "notes": _notes(services)},
            status=503 if reasons else 200,
        )

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    return [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]


def _notes(services: Sequence[Service]) -> list[str]:
    told = [words for service in services for tell in service.notes.values() if (words := tell())]
    return told + ailing_parts()


async def _reasons(services: Sequence[Service]) -> list[str]:
    checks = [(service.name, name, check) for service in services for name, check in service.checks.items()]
    answers = await asyncio.gather(*(_answer(check) for _, _, check in checks))
    return [f"{service}: {words}" for (service, _, _), words in zip(checks, answers, strict=True) if words]


async def _answer(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except TimeoutError:
        return f"a check did not answer within {CHECK_SECONDS:g} s"
    except ShopbusError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a reason not to be ready
        _log.exception("a readiness check failed")
        return f"a check failed with {type(error).__name__}"


async def until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Runs until the work ends; SIGTERM or SIGINT cancels it, and its cleaning up is waited for."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
        raise
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    if not task.cancelled() and (error := task.exception()):
        raise _alone(error)


def _alone(error: BaseException) -> BaseException:
    """A group of one error is that error: a TaskGroup wraps whatever passes through it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def start(work: Coroutine[Any, Any, None]) -> None:
    """Runs the work to its end, on uvloop where that is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(work)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - it has no build for some platforms
    except ImportError:
        return None
    return uvloop.new_event_loop


def main(
    name: str, settings: type[AnySettings], run: Callable[[AnySettings], Coroutine[Any, Any, None]]
) -> None:
    """The whole of a service's `__main__`: what stops the start is one line on standard error."""
    try:
        loaded = settings.load()
        logs.configure(loaded.log_level, loaded.log_format)
        start(run(loaded))
    except ShopbusError as error:
        sys.exit(f"shopbus {name}: {error}")
