"""`shopbus keys`: the keys that tokens are sealed with."""

import typer

app = typer.Typer(help="The keys that shops' tokens are sealed with.")


@app.command("rotate")
def rotate() -> None:
    """Seal all tokens with the first of TOKEN_KEYS, while the services run. Can be broken off and begun again."""
    from services.cli import token_work  # noqa: PLC0415 - other commands need not wait for auth

    rotated = token_work.run(token_work.rotate)
    typer.echo(f"{rotated.done:,} sessions sealed anew")
    if rotated.failed:
        typer.echo(
            f"{rotated.failed:,} do not open: is the key they were sealed with in TOKEN_KEYS?", err=True
        )
    if meanwhile := rotated.left - rotated.failed:
        typer.echo(
            f"{meanwhile:,} were sealed with another key meanwhile: every auth process needs the new TOKEN_KEYS first",
            err=True,
        )
    if rotated.left:
        raise typer.Exit(1)


@app.command("show")
def show() -> None:
    """How many sessions each key has sealed: one with none can be taken out of TOKEN_KEYS."""
    from services.cli import token_work  # noqa: PLC0415 - as above

    known, counts = token_work.run(token_work.count_keys)
    for place, name in enumerate(known, start=1):
        typer.echo(f"key {place}\t{name}\t{counts.pop(name, 0):,} sessions")
    for name, number in counts.items():
        typer.echo(f"missing\t{name}\t{number:,} sessions")
    if counts:
        raise typer.Exit(1)
