"""The outbox protocol of docs/architecture.md: a message's row exists exactly as long as its work is not done."""
