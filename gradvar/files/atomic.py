"""Files and folders that are complete or not there, and folders with one writer, of one configuration."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gradvar.files.outputs import Output
from gradvar.files.reading import require_plain

PART = ".part"
"""The end of the name of a file or folder that is not complete."""


class Lock:
    """Keeps a folder for one process; the system releases it when that process ends, however it ends."""

    def __init__(self, folder: Path, argument: str = "out", wait: float = 0.0) -> None:
        """Raise ``ValueError`` where another process has the folder, or where nothing can be written to it.

        ``wait``: seconds until another process has to have given it back.
        """
        with writing(folder, argument):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / ".lock", thread_local=False)
            try:
                self._lock.acquire(timeout=wait)
            except Timeout:
                raise ValueError(
                    f"{argument}: another run is writing to {folder}; wait for it, or give another folder"
                ) from None

    def release(self) -> None:
        """Give the folder back."""
        self._lock.release()

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def claim(folder: Path, identity: Mapping[str, Any], argument: str = "out") -> None:
    """Write a run's identity to a new folder; raise ``ValueError`` where the folder holds another run."""
    path, text = folder / "run.json", json.dumps(identity, sort_keys=True, indent=1)
    if path.exists():
        present = read_json(path, argument, "give another folder")
        difference = differing(present, json.loads(text))
        if difference:
            raise ValueError(
                f"{argument}: {folder} holds a run of other settings ({difference}); give another folder, or those "
                "settings"
            )
        return
    with writing(folder, argument):
        write_file(path, (text + "\n").encode())


def differing(present: Any, requested: Any, name: str = "") -> str:
    """The first place where two trees of plain values differ, in words; empty where they are equal."""
    if isinstance(present, dict) and isinstance(requested, dict):
        for key in sorted(present.keys() | requested.keys()):
            inside = differing(present.get(key), requested.get(key), f"{name}.{key}" if name else key)
            if inside:
                return inside
        return ""
    return "" if present == requested else f"{name}: {present} there, {requested} asked for"


@contextlib.contextmanager
def writing(folder: Path, argument: str) -> Iterator[None]:
    """Turn the error of a disk that is full or read-only into one clear ``ValueError``."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"{argument}: {folder} could not be written ({error.strerror or error}); free some space or give another "
            "folder, and do the same again: what was finished before is kept"
        ) from error


def write_file(path: Path, content: bytes | Callable[[Path], object]) -> None:
    """Write a file, making its folder where there is none.

    ``content`` is the file's bytes, or a function that fills the path that it is given. A reader sees the old file or
    the new one, never a part, and the new one outlives a loss of power. Two writers do not disturb each other.

    A link stays, and the file that it names is written; the mode and the owner of a file that was there stay. A pipe, a
    device such as /dev/null, and the file that standard output goes to are written through, never replaced. Raises
    ``OSError`` that names ``path``, or ``ValueError`` for what is neither.
    """
    try:
        output = Output.of(path)
        if output.handle is None:
            _replace(output.path, output.status, content)
        else:
            _write_through(output, content)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _replace(path: Path, present: os.stat_result | None, content: bytes | Callable[[Path], object]) -> None:
    """Put a new file in the place of the present one, if there is one, with its mode and owner."""
    if present is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:32]}-", suffix=PART)
    os.close(handle)
    temporary = Path(name)
    try:
        _fill(temporary, content)
        _sync(temporary)
        if present is None:
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp keeps the file for its owner
        else:
            with contextlib.suppress(PermissionError):
                os.chown(temporary, present.st_uid, present.st_gid)
            temporary.chmod(stat.S_IMODE(present.st_mode))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _write_through(output: Output, content: bytes | Callable[[Path], object]) -> None:
    """Send the bytes to what is no plain file; a function fills a file elsewhere first."""
    with tempfile.TemporaryDirectory(prefix="gradvar-") as folder, output.opened() as handle:
        if callable(content):
            _fill(Path(folder) / "content", content)
            content = (Path(folder) / "content").read_bytes()
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]


def _fill(path: Path, content: bytes | Callable[[Path], object]) -> None:
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)


def write_folder(path: Path, fill: Callable[[Path], object]) -> None:
    """Let ``fill`` write files into a temporary folder, then rename it to ``path``."""
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
    """Remove the incomplete files of writers that were killed; call it while holding the folder's lock."""
    for path in folder.glob(f"*{PART}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def read_json(path: Path, argument: str, fix: str) -> dict[str, Any]:
    """The mapping that a JSON file holds; for anything else a ``ValueError`` that ends with ``fix``."""
    try:
        require_plain(path)
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}, no mapping")
        json.dumps(content)  # gradvar writes nothing that is nested too deeply to be written again
    except (ValueError, RecursionError, OSError) as error:
        reason = getattr(error, "msg", None) or getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{argument}: {path} is damaged ({reason}); {fix}") from None
    return content


def file_digest(path: Path) -> str:
    """The sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Write the folder's names to the disk, where its file system can do that."""
    with contextlib.suppress(OSError):
        _sync(folder)
