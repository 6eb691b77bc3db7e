"""The handlers that ship, one file per subject. A file added here is found by itself."""
