"""`shopbus doctor`: looks at everything a start needs, and says in words what is wrong and what mends it."""

import asyncio
from importlib import import_module

import aiohttp
import typer

from libs.common.errors import ConfigurationError
from libs.common.settings import CommonSettings
from services.cli.config import local_sources
from services.cli.doctor_broker import check_broker
from services.cli.doctor_database import check_database
from services.cli.errors import PortTaken
from services.cli.findings import Finding, ok, wrong
from services.cli.local import free_port, holder
from services.cli.run import SERVICES
from services.cli.screen import clean

_COLOURS = {"ok": typer.colors.GREEN, "note": typer.colors.YELLOW, "wrong": typer.colors.RED}
_PATIENCE = aiohttp.ClientTimeout(total=5)


def doctor() -> None:
    """Check settings, database, clock, broker and port; exit 1 if something is wrong."""
    common = CommonSettings.load(**local_sources(CommonSettings.load()))
    findings = [*check_settings(common), *asyncio.run(_check_surroundings(common))]
    for finding in findings:
        _show(finding)
    if any(finding.verdict == "wrong" for finding in findings):
        raise typer.Exit(1)


def _show(finding: Finding) -> None:
    verdict = typer.style(f"{finding.verdict:<6}", fg=_COLOURS[finding.verdict])
    typer.echo(f"{verdict} {finding.subject:<9} {clean(finding.words)}")
    if finding.mend:
        typer.echo(f"{'':<16} → {finding.mend}")


def check_settings(common: CommonSettings) -> list[Finding]:
    """Whether each service would start with what the environment, `.env` and the made secrets say."""
    return [_check_service(name, common) for name in SERVICES]


def _check_service(name: str, common: CommonSettings) -> Finding:
    try:
        import_module(f"{SERVICES[name]}.config").Settings.load(**local_sources(common))
    except ConfigurationError as error:
        mend = "`make run` makes secrets for this machine; elsewhere set it in the environment or in .env"
        return wrong("settings", f"{name} {error}", mend)
    return ok("settings", f"{name} has all it needs")


async def _check_surroundings(common: CommonSettings) -> list[Finding]:
    return [*await check_database(common), *await check_broker(common), await check_port(common)]


async def check_port(common: CommonSettings) -> Finding:
    """Whether the port is free, or shopbus itself is on it and ready."""
    if holder(common.state_dir) is not None:
        return await _ask_running(f"http://{common.host}:{common.port}/readyz")
    try:
        free_port(common.host, common.port)
    except PortTaken as error:
        return wrong("port", str(error), f"PORT={common.port + 1}, or stop what listens there")
    return ok("port", f"{common.port} is free")


async def _ask_running(url: str) -> Finding:
    mend = f"look at {url} and at the output of `shopbus run`"
    try:
        async with aiohttp.ClientSession(timeout=_PATIENCE) as http, http.get(url) as response:
            state = await response.json()
            reasons = "; ".join(state["reasons"])
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError):
        return wrong(
            "port", f"`shopbus run` is on, but does not answer at {url}", "is PORT the one it runs with?"
        )
    if reasons:
        return wrong("port", f"`shopbus run` is not ready: {reasons}", mend)
    return ok("port", f"`shopbus run` answers there and is ready{_asides(state.get('notes'))}")


def _asides(notes: object) -> str:
    return f" ({'; '.join(map(str, notes))})" if isinstance(notes, list) and notes else ""
