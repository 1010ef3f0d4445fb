"""Where an output path leads: a plain file, or what must not be replaced by one (a pipe, a device, standard output)."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_STANDARD = (1, 2)  # output and errors


@dataclass(frozen=True)
class Output:
    """A path with all links followed, its ``status`` if there is something, and how to write through it.

    ``handle`` is None for a plain file, -1 for what must be opened, else the standard output that the path is.
    """

    path: Path
    status: os.stat_result | None
    handle: int | None

    @classmethod
    def of(cls, path: Path) -> Output:
        """Follow a path; ``ValueError`` where writing to what it leads to could only do harm."""
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return cls(path.resolve(), None, None)
        for handle in _STANDARD:
            with contextlib.suppress(OSError):
                if os.path.samestat(status, os.fstat(handle)):
                    return cls(path, status, handle)
        mode = status.st_mode
        if stat.S_ISREG(mode):
            return cls(path.resolve(), status, None)
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            return cls(path, status, -1)
        kind = "folder" if stat.S_ISDIR(mode) else "disk" if stat.S_ISBLK(mode) else "socket"
        raise ValueError(f"{path} is a {kind}; give a file")

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """A handle to write to; a pipe that nobody reads is an error, not a wait."""
        if self.handle != -1:
            assert self.handle is not None
            (sys.stdout if self.handle == 1 else sys.stderr).flush()
            yield self.handle
            return
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise ValueError(f"{self.path} is a pipe that nobody reads; start its reader first") from None
            raise
        try:
            os.set_blocking(handle, True)
            yield handle
        finally:
            os.close(handle)
