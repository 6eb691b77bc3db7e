"""`shopbus`: the table of commands, and one line for everything that goes wrong."""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from libs.common.errors import ShopbusError
from services.cli import app_toml, backfill, jobs, keys, privacy, send, subscriptions, tokens
from services.cli.doctor import doctor
from services.cli.errors import exit_code
from services.cli.lost import lost
from services.cli.migrate import migrate
from services.cli.replay import replay
from services.cli.run import run
from services.cli.serve import serve
from services.cli.why import why


class OneLineErrors(TyperGroup):
    """Says what is wrong in one line on stderr; a traceback means a bug in shopbus."""

    def main(self, *args: Any, **extra: Any) -> Any:
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except ShopbusError as error:
            code = _say(str(error), exit_code(error))
        except typer.TyperException as error:
            code = _say(_one_line(error), error.exit_code)
        except typer.Abort:
            code = _say("stopped", 1)
        sys.exit(code if isinstance(code, int) else 0)


def _say(message: str, code: int) -> int:
    typer.echo(f"shopbus: {message}", err=True)
    return code


def _one_line(error: typer.TyperException) -> str:
    """What the parser complains about, and where the help for it is."""
    context = getattr(error, "ctx", None)
    where = f" (see {context.command_path} --help)" if context else ""
    return f"{' '.join(error.format_message().split())}{where}"


def show_help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app = typer.Typer(
    name="shopbus",
    cls=OneLineErrors,
    help="The event backbone of a Shopify app.",
    add_completion=False,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    callback=show_help,
)

app.command()(run)
app.command()(serve)
app.command()(migrate)
app.command()(doctor)
app.add_typer(send.app, name="send", invoke_without_command=True, callback=show_help)
app.add_typer(jobs.app, name="jobs", invoke_without_command=True, callback=show_help)
app.add_typer(backfill.app, name="backfill", invoke_without_command=True, callback=show_help)
app.add_typer(keys.app, name="keys", invoke_without_command=True, callback=show_help)
app.add_typer(tokens.app, name="tokens", invoke_without_command=True, callback=show_help)
app.add_typer(privacy.app, name="privacy", invoke_without_command=True, callback=show_help)
app.add_typer(subscriptions.app, name="subscriptions", invoke_without_command=True, callback=show_help)
app.add_typer(app_toml.app, name="app", invoke_without_command=True, callback=show_help)
app.command()(why)
app.command()(replay)
app.command()(lost)


def main() -> None:
    """The entry point of the `shopbus` script."""
    app(prog_name="shopbus")
