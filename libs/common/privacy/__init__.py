"""Finding and erasing what a service holds of a person or a shop, and proving it (docs/privacy.md)."""
