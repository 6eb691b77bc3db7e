"""Works on messages: runs the handlers, keeps what became of each message, and answers for it.

Consumes every message type of every source, and by itself `install.ended`: it cancels what waits for that install.
Produces what handlers emit. Owns the schema `worker`: its own outbox, what waits, failed and ended (`scheduled`,
`failed`, `history`), and the tables of the handlers that ship. Answers the app's pages from Shopify's Admin API, and
keeps such answers in memory alone.
"""
