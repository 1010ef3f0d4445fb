"""Checks that results can be written, before anything is computed."""

import tempfile
from pathlib import Path


def check_writable(folder: Path, argument: str = "out") -> None:
    """Raise ``ValueError`` unless files can be made in ``folder``, or in the nearest folder above it that exists.

    A file is really made, and removed: permission bits do not bind an administrator, and do not show that a file
    system is read-only or full.
    """
    existing = Path(folder).absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise ValueError(f"{argument}: {folder} is or lies below a file, {existing}; give a folder")
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise ValueError(
            f"{argument}: {folder} cannot be written ({error.strerror} in {existing}); give another folder"
        ) from None


def check_file(file: Path, argument: str) -> None:
    """Raise ``ValueError`` unless ``file`` can be written and is no folder."""
    if Path(file).is_dir():
        raise ValueError(f"{argument}: {file} is a folder; give a file, such as {file / 'results.json'}")
    check_writable(Path(file).parent, argument)
