"""`shopbus serve`: one service, from the environment alone."""

from importlib import import_module
from typing import Annotated

import typer

from libs.common import logs
from libs.common.service import start
from services.cli.errors import BadInput
from services.cli.run import SERVICES


def serve(name: Annotated[str, typer.Argument(metavar="SERVICE", help=" | ".join(SERVICES))]) -> None:
    """Run one service; a missing secret stops the start."""
    if name not in SERVICES:
        raise BadInput(f"no service is called {name!r}: there are {', '.join(SERVICES)}")
    settings = import_module(f"{SERVICES[name]}.config").Settings.load()
    logs.configure(settings.log_level, settings.log_format)
    start(import_module(f"{SERVICES[name]}.app").run(settings))
