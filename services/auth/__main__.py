"""Runs the service: `python -m services.auth`."""

from libs.common.service import main
from services.auth.app import run
from services.auth.config import Settings

if __name__ == "__main__":
    main("auth", Settings, run)
