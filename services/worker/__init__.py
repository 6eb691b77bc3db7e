"""Runs the app's own handlers on messages, each exactly once in effect, and answers what became of them.

Consumes: everything the topology sends to `worker`. Produces: what handlers emit, and the ticks of schedules.
Owns: the schema `worker` with its outbox, scheduled, failed and history, and the tables of the handlers.
"""
