"""Handlers that come to nothing for now, for backfills that have to wait for theirs."""

from services.worker.sdk import Context, Later, Message, on


@on("backfill.customers")
async def put_off(message: Message, ctx: Context) -> None:
    """Always later."""
    raise Later(600)
