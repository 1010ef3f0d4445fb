"""Checks that results can be written, before anything is computed."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from gradvar.files.outputs import Output


def check_writable(folder: Path, argument: str = "out") -> None:
    """Raise ``ValueError`` unless files can be made in ``folder``, or in the nearest folder above it that exists.

    A file is really made, and removed: permission bits do not bind an administrator, and do not show that a file
    system is read-only or full.
    """
    existing = Path(folder).absolute()
    try:
        while not _is_there(existing):
            existing = existing.parent
    except OSError as error:
        raise ValueError(f"{argument}: {_short(folder)}: {error.strerror}; give another folder") from None
    if not existing.is_dir():
        raise ValueError(f"{argument}: {folder} is or lies below a file, {existing}; give a folder")
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise ValueError(
            f"{argument}: {folder} cannot be written ({error.strerror} in {existing}); give another folder"
        ) from None


def check_file(file: Path, argument: str) -> None:
    """Raise ``ValueError`` unless ``file`` can be written: a file or a name for one, a pipe, or a device."""
    if os.path.isdir(file):
        raise ValueError(f"{argument}: {file} is a folder; give a file, such as {file / 'results.json'}")
    try:
        output = Output.of(Path(file))
    except OSError as error:
        raise ValueError(f"{argument}: {_short(file)}: {error.strerror}; give another file") from None
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None
    if output.handle is None:
        check_writable(output.path.parent, argument)
    elif not os.access(output.path, os.W_OK):
        raise ValueError(f"{argument}: {file} may not be written; give another file")


def check_apart(outputs: Mapping[str, Path | None], inputs: Iterable[Path]) -> None:
    """Raise ``ValueError`` where a file would be written over an input, or over another output.

    Args:
        outputs: The files by the names of their options; None for one that is not asked for.
        inputs: The files that are read.
    """
    taken = {_place(path): "is read" for path in inputs}
    for argument, path in outputs.items():
        if path is None or (os.path.exists(path) and not os.path.isfile(path)):
            continue
        place = _place(path)
        if place in taken:
            raise ValueError(
                f"{argument}: {_short(path)} {taken[place]}, and would be lost; give another file"
            )
        taken[place] = f"is what --{argument} writes"


def _place(path: Path) -> str:
    """A path with all links followed, as far as there are any."""
    return os.path.realpath(path)


def _is_there(path: Path) -> bool:
    """Like ``path.exists``, but for a name that is too long, or links in a circle, there is an error."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _short(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 200 else f"{text[:80]}...{text[-80:]}"
