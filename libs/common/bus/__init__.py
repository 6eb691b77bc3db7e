"""RabbitMQ mechanics: packing, topology, publishing, consuming, and a deadline around every call.

What to do when RabbitMQ is away is not decided here; `libs.common.outbox` does.
"""
