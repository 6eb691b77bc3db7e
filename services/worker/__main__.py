"""`python -m services.worker`."""

from libs.common.service import main
from services.worker.app import run
from services.worker.config import Settings

if __name__ == "__main__":
    main("worker", Settings, run)
