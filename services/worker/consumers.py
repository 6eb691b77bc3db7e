"""Messages in that the worker itself acts on, beside those of handlers."""

from datetime import datetime

from libs.common.contracts.envelope import Message
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import Handler, Registry
from services.worker.sweep import EndedInstall, Sweep

_LONGEST_PASS = 3600.0  # seconds; through a backlog of tens of millions


def with_own(registry: Registry, sweep: Sweep) -> Registry:
    """The handlers of the app, and the worker's own."""

    async def cancel_orphaned_work(message: Message, _: Context) -> None:
        facts = message.json()
        ended = datetime.fromisoformat(facts["uninstalled_at"])
        await sweep.cancel(EndedInstall(message.shop, facts["generation"], ended))

    own = Handler(
        "consumers.cancel_orphaned_work", cancel_orphaned_work, ("install.ended",), timeout=_LONGEST_PASS
    )
    return Registry([*registry.handlers, own])
