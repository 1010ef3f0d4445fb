"""What must survive on disk: one writer to a folder, of one configuration; files and folders whole or not there."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

LARGEST_TEXT = 1 << 26
"""Bytes of a JSON file at most: ours are far smaller, and a damaged one must not fill the memory."""
PART = ".part"
"""How the name of what is not yet whole ends."""


class Lock:
    """Keeps a folder for one process; released by the system when that process ends, however it ends."""

    def __init__(self, folder: Path, argument: str = "out") -> None:
        """Raises ``ValueError`` where another process has the folder, or where nothing can be written to it."""
        with writing(folder, argument):
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = (folder / ".lock").open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ValueError(
                f"{argument}: another run is writing to {folder}; wait for it, or give another folder"
            ) from None

    def release(self) -> None:
        """Give the folder back."""
        self._file.close()

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def claim(folder: Path, identity: Mapping[str, Any], argument: str = "out") -> None:
    """Write what the run is to a new folder; raise ``ValueError`` where the folder holds another one."""
    path, text = folder / "run.json", json.dumps(identity, sort_keys=True, indent=1)
    if path.exists():
        try:
            found = json.loads(path.read_text())
        except (ValueError, RecursionError):
            found = {}
        difference = differing(found, json.loads(text))
        if difference:
            raise ValueError(
                f"{argument}: {folder} holds a run of other settings ({difference}); give another folder, or those "
                "settings"
            )
        return
    with writing(folder, argument):
        folder.mkdir(parents=True, exist_ok=True)
        write_file(path, (text + "\n").encode())


def differing(found: Any, asked: Any, name: str = "") -> str:
    """The first place where two trees of plain values differ, in words; empty where they are equal."""
    if isinstance(found, dict) and isinstance(asked, dict):
        for key in sorted(found.keys() | asked.keys()):
            inside = differing(found.get(key), asked.get(key), f"{name}.{key}" if name else key)
            if inside:
                return inside
        return ""
    return "" if found == asked else f"{name}: {found} there, {asked} asked for"


@contextlib.contextmanager
def writing(folder: Path, argument: str) -> Iterator[None]:
    """A disk that is full or read-only is one clear ``ValueError``, which names the argument and the folder."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"{argument}: {folder} could not be written ({error.strerror or error}); free some space or give another "
            "folder, and do the same again: what was finished before is kept"
        ) from error


def write_file(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one, never a part, and the new one outlives a loss of power."""
    temporary = path.with_name(path.name + PART)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_folder(path: Path, fill: Callable[[Path], object]) -> None:
    """Let ``fill`` write files into a temporary folder, then rename it to ``path``: it is there whole, or it is not."""
    temporary = path.with_name(path.name + PART)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        fill(temporary)
        for file in temporary.iterdir():
            _sync(file)
        _sync_folder(temporary)
        temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(path.parent)


def remove_parts(folder: Path) -> None:
    """Remove what earlier writers were killed over; only for who holds the folder's lock."""
    for path in folder.glob(f"*{PART}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def read_json(path: Path, argument: str, mend: str) -> dict[str, Any]:
    """The mapping that a JSON file holds; ``ValueError`` that ends with ``mend`` for anything else."""
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise ValueError(f"{path.stat().st_size:,} bytes")
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}, no mapping")
        json.dumps(found)  # what is nested too deeply to be written again is none of ours
    except (ValueError, RecursionError, OSError) as error:
        what = getattr(error, "msg", None) or getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{argument}: {path} is damaged ({what}); {mend}") from None
    return found


def digest(path: Path) -> str:
    """sha256 of a file's content, a block at a time."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """The names in a folder; where a file system cannot do that, there is nothing to be done."""
    with contextlib.suppress(OSError):
        _sync(folder)
