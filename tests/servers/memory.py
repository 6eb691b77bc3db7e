"""Where the suite's servers keep their data: in memory, where there is enough of it."""

import shutil
from pathlib import Path

import psutil

_FOLDER = Path("/dev/shm")  # noqa: S108 - servers make private folders in it
_ENOUGH_BYTES = 8 << 30  # three test processes use about a quarter of it


def folder_in_memory() -> Path | None:
    """A file system in memory; None where there is none, or little room.

    Servers flush there as they do on a disk, which costs nothing then: thousands of databases are made and dropped in a
    run, and each drop flushes every file. What a killed server had written is as safe as on a disk; only a machine that
    loses its power would lose it, and no test does that.
    """
    if not _FOLDER.is_dir():
        return None
    free = min(shutil.disk_usage(_FOLDER).free, psutil.virtual_memory().available)
    return _FOLDER if free >= _ENOUGH_BYTES else None
