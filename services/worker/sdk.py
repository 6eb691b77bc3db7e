"""What a handler imports: `from services.worker.sdk import Context, Message, on`."""

from libs.common.contracts.envelope import Message
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import every, on
from libs.common.runtime.outcomes import Later, Never

__all__ = ["Context", "Later", "Message", "Never", "every", "on"]
