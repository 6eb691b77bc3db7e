"""Takes in what the web pixel sends from shoppers' browsers: judged, committed together as frames, then answered.

Consumes `shop.installed` and `shop.uninstalled`. Produces `pixel.frame`. Owns the schema `ingest`: extensions and their
public keys, the versions that were seen, the quarantine of events that could not be kept, and the shared rate limits.
"""
