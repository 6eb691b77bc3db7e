"""What a handler imports: `from services.worker.sdk import Context, Message, on`."""

from libs.common.contracts.envelope import Message
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import every, on
from libs.common.runtime.outcomes import Cancelled, Later, Never
from libs.common.shopify.admin.lanes import ApiLane

__all__ = ["ApiLane", "Cancelled", "Context", "Later", "Message", "Never", "every", "on"]
