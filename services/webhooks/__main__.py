"""Runs the service: `python -m services.webhooks`."""

from libs.common.service import main
from services.webhooks.app import run
from services.webhooks.config import Settings

if __name__ == "__main__":
    main("webhooks", Settings, run)
