"""Small files that a user names: a plain file of text, or one line that says which, why not, and what to give."""

import stat
from pathlib import Path

LARGEST_TEXT = 1 << 26
"""Bytes of a file of text at most: gradvar's are far smaller, and a damaged one must not fill the memory."""


def require_plain(path: Path, largest: int | None = LARGEST_TEXT) -> None:
    """Raise ``OSError`` where nothing is there, ``ValueError`` for a pipe or a device, which may never end, and for a
    file of more than ``largest`` bytes."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("no plain file")
    if largest is not None and status.st_size > largest:
        raise ValueError(f"{status.st_size:,} bytes, and {largest:,} at most are read")


def read_text(path: Path, argument: str, fix: str, largest: int = LARGEST_TEXT) -> str:
    """The text of a plain file in UTF-8; for anything else a ``ValueError`` that ends with ``fix``.

    Args:
        path: The file.
        argument: What the error calls it.
        fix: What to give instead.
        largest: Bytes at most.

    >>> read_text(Path("/"), "config", "give a .toml file")
    Traceback (most recent call last):
    ...
    ValueError: config: / cannot be read (a folder); give a .toml file
    """
    try:
        require_plain(path, largest)
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        reason = "no text in UTF-8"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise ValueError(f"{argument}: {_short(path)} cannot be read ({reason}); {fix}") from None


def _short(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 200 else f"{text[:80]}...{text[-80:]}"
