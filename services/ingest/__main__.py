"""Runs the service: `python -m services.ingest`."""

from libs.common.service import main
from services.ingest.app import run
from services.ingest.config import Settings

if __name__ == "__main__":
    main("ingest", Settings, run)
