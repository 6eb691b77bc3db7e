"""Handles whatever no more exact handler does, so that a run can tell handled from seen."""

from services.worker.sdk import Context, Message, on

EFFECT = "INSERT INTO worker.e2e_effects (message_id, type, body) VALUES ($1, $2, $3)"


@on("webhook.#")
async def keep_any(message: Message, ctx: Context) -> None:
    message.json()
    async with ctx.transaction() as tx:
        await tx.execute(EFFECT, message.id, message.type, message.body)
