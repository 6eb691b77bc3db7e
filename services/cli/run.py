"""`shopbus run`: everything on this machine, in one process, behind one port."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path

import typer

from libs.common import logs
from libs.common.embedded import EmbeddedPostgres
from libs.common.service import Service, serve, start, until_signalled
from libs.common.settings import CommonSettings
from services.cli.config import RunSettings, local_sources
from services.cli.local import free_port, locked, make_secrets, open_folder, secrets_file

SERVICES: Mapping[str, str] = {
    "auth": "services.auth",
    "webhooks": "services.webhooks",
    "ingest": "services.ingest",
    "worker": "services.worker",
}
"""Every service and its package, in the order they open; imported when needed: other commands stay quick."""

SANDBOX = "services.sandbox"
"""The store that plays Shopify; `serve` does not know it, so that it is never on in production."""

SANDBOX_SCOPES = "read_customer_events,read_customers,read_orders,read_products,write_pixels"
"""What the app asks the sandbox's merchants for unless told otherwise: enough to try all that ships."""

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - addresses to listen on, of which one can call itself
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})
_SHUTDOWN_SECONDS = 2.0  # for work in flight: with Postgres to stop after it, Ctrl-C takes less than five
_USUAL_PORT = 8080


def run() -> None:
    """Run everything on this machine: Postgres, migrations, all services on one port."""
    common = CommonSettings.load()
    with suppress(KeyboardInterrupt):  # during the start or the stop: what was opened is closed by then
        _run(common)
    typer.echo(f"stopped; the data stays in {common.state_dir}")


def _run(common: CommonSettings) -> None:
    from libs.common.migrate import migrate  # noqa: PLC0415 - other commands need not wait for Alembic

    folder = common.state_dir
    open_folder(folder)
    with locked(folder):
        port = free_port(common.host, common.port)
        make_secrets(folder)
        _stop_on_signals()
        _configure_logs(common)
        with _database(common) as url:
            migrate(url)
            overrides = {**_overrides(common), **_stores(common, port), **_auth(common, port)}
            overrides |= {"database_url": url, "port": port}
            start(until_signalled(_serve_all(overrides)))


def _stop_on_signals() -> None:
    """SIGTERM and a closed terminal stop us as Ctrl-C does, also while no event loop runs."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


def _configure_logs(common: CommonSettings) -> None:
    """Quiet and readable, unless the settings say otherwise."""
    chosen = common.model_fields_set
    logs.configure(
        common.log_level if "log_level" in chosen else "WARNING",
        common.log_format if "log_format" in chosen else "console",
    )


@contextmanager
def _database(common: CommonSettings) -> Iterator[str]:
    """The URL of the database: the one that is set, or an embedded server that runs as long as we do."""
    if common.database_url is not None:
        yield common.database_url.get_secret_value()
        return
    typer.echo("starting Postgres …")
    with EmbeddedPostgres(common.state_dir / "postgres") as server:
        yield server.url


def _overrides(common: CommonSettings) -> dict[str, object]:
    patience = (
        {} if "shutdown_seconds" in common.model_fields_set else {"shutdown_seconds": _SHUTDOWN_SECONDS}
    )
    return {**local_sources(common), **patience}


def _stores(common: CommonSettings, port: int) -> dict[str, object]:
    """Where the sandbox store is and what the app wants there; empty where the app has a key or address of its own."""
    chosen = RunSettings.load()  # without the key that was made here
    if chosen.shopify_api_key or chosen.app_url or chosen.sandbox_store_url or common.host not in _LOOPBACK:
        return {}
    scopes = chosen.shopify_scopes or SANDBOX_SCOPES
    return {"sandbox_store_url": f"http://{common.host}:{port}/sandbox", "shopify_scopes": scopes}


def _auth(common: CommonSettings, port: int) -> dict[str, object]:
    """Where auth is: in this process, unless it is said to be elsewhere."""
    return {} if RunSettings.load().auth_url else {"auth_url": f"http://{_reached_at(common.host)}:{port}"}


def _reached_at(host: str) -> str:
    return "127.0.0.1" if host in _EVERYWHERE else host


async def _serve_all(overrides: dict[str, object]) -> None:
    settings = RunSettings.load(**overrides)
    packages = [*SERVICES.values(), *([SANDBOX] if settings.sandbox_store_url else [])]
    for package in packages:  # all of it first: no service that works already is held up by an import
        import_module(f"{package}.app")
    async with AsyncExitStack() as opened:
        services = [await opened.enter_async_context(_open(package, overrides)) for package in packages]
        await serve(services, settings, started=lambda port: _greet(settings, port))


def _open(package: str, overrides: dict[str, object]) -> AbstractAsyncContextManager[Service]:
    """Opens one service with its own settings."""
    settings = import_module(f"{package}.config").Settings.load(**overrides)
    opening: AbstractAsyncContextManager[Service] = import_module(f"{package}.app").open_service(settings)
    return opening


def _greet(settings: RunSettings, port: int) -> None:
    for line in greeting(settings, port, _command()):
        typer.echo(line)


def greeting(settings: RunSettings, port: int, command: str) -> list[str]:
    """What to do next, with commands that work when pasted; where secrets are, never what they are."""
    base = f"http://{settings.host}:{port}"
    shopbus = command if port == _USUAL_PORT else f"PORT={port} {command}"
    broker = (
        "in use (RABBITMQ_URL)" if settings.rabbitmq_url else "not set: everything runs on Postgres alone"
    )
    stores = settings.sandbox_store_url
    shopify = (
        f"played by the sandbox store: {stores}" if stores else "the real one (SHOPIFY_API_KEY, APP_URL)"
    )
    return [
        f"shopbus runs at {base} (Ctrl-C stops it)",
        "",
        f"  Shopify   {shopify}",
        f"  RabbitMQ  {broker}",
        f"  Ready?    {base}/readyz",
        f"  Metrics   {base}/metrics",
        f"  Secrets   {secrets_file(settings.state_dir)} (OPS_TOKEN there opens {base}/api/jobs)",
        "",
        *([f"Install the app: open {stores} in a browser and choose a store.", ""] if stores else []),
        "Next, in another terminal:",
        f"  {shopbus} send webhook orders/create --count 100 --shops 5 --rate 50",
        *([f"  {shopbus} send pixel --count 100 --shops 2"] if stores else []),
        f"  {shopbus} jobs ls",
        f"  {shopbus} why ID",
        "",
        "Your first handler goes into services/worker/handlers/: README.md shows one of ten lines.",
    ]


def _command() -> str:
    """`shopbus`, or the path it was started by where the shell would not find it."""
    if shutil.which("shopbus"):
        return "shopbus"
    started = Path(sys.argv[0]).absolute()
    if started.name == "__main__.py":
        return "python -m services.cli"
    return str(started.relative_to(Path.cwd())) if started.is_relative_to(Path.cwd()) else str(started)
