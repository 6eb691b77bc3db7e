"""A small file system of its own, which a test can fill to the last byte. Making one needs root."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.servers.machine import output_of, start_keeper

# A server on it ends by itself when our process does; the disk goes when nobody runs on it any more.
_LAST_WILL = """
for i in $(seq 60); do test -e "$1/data/postmaster.pid" || break; sleep 0.5; done
umount -l "$1"
rm -rf "$1"
"""


class SmallDisk:
    """A file system in memory with a folder for its name."""

    def __init__(self, folder: Path, size: int) -> None:
        """Mounts one of `size` bytes on a folder; raises `RuntimeError` where that is not permitted."""
        output_of(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", folder])
        self._folder = folder
        self._ballast = folder / "ballast"
        self._keeper = start_keeper(_LAST_WILL, str(folder))

    @property
    def free(self) -> int:
        """Bytes that can still be written."""
        state = os.statvfs(self._folder)
        return state.f_bavail * state.f_bsize

    def fill(self) -> None:
        """Leaves no room at all."""
        with self._ballast.open("ab") as ballast:
            while free := self.free:
                with suppress(OSError):  # somebody else took some of it just now
                    os.posix_fallocate(ballast.fileno(), ballast.seek(0, os.SEEK_END), free)

    def clear(self) -> None:
        """Gives the room back."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Removes the file system with all that is on it, as soon as nobody runs on it any more."""
        output_of(["umount", "-l", self._folder])
        self._keeper.kill()
        self._keeper.communicate()


def why_no_small_disk() -> str | None:
    """Why no file system can be mounted here; None where it can."""
    if os.geteuid() != 0:
        return "only root may mount a small file system"
    folder = Path(tempfile.mkdtemp(prefix="shopbus-test-disk-"))
    try:
        SmallDisk(folder, 1 << 20).close()
    except RuntimeError as error:
        return f"a small file system cannot be mounted here: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None
