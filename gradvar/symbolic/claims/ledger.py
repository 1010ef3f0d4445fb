"""Finding claim files: the repository's, those in the wheel, or a user's folder."""

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from gradvar.files.target import import_file
from gradvar.symbolic.claims.claim import Claim


def proofs_folder() -> Path:
    """Return the folder of the bundled claims: ``gradvar/_proofs`` in a wheel, ``proofs/`` in a checkout."""
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "_proofs", package.parent / "proofs"):
        if folder.is_dir() and any(folder.rglob("*.py")):
            return folder
    raise FileNotFoundError(
        "no claims found: neither gradvar/_proofs (wheel) nor proofs/ (checkout) is there"
    )


def load(folder: Path | str) -> list[Claim]:
    """Load all claims of a file, or of a folder and the folders in it, by id.

    Raises ``ValueError`` where two claims have one id, or there is none.
    """
    folder = Path(folder)
    files = [folder] if folder.is_file() else _claim_files(folder)
    claims: dict[str, Claim] = {}
    for file in files:
        with _shared_helpers(file):
            module = import_file(file)
        for value in vars(module).values():
            if isinstance(value, Claim):
                if value.id in claims and claims[value.id] is not value:
                    raise ValueError(f"{file.name}: the id {value.id} is taken; give every claim its own")
                value.path = str(file)
                claims[value.id] = value
    if not claims:
        raise ValueError(f"{folder}: no claims there; a claim file makes a gradvar.symbolic.Claim")
    return sorted(claims.values(), key=lambda claim: order(claim.id))


def _claim_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of the folders in it.

    What begins with an underscore is a shared helper. Packages and virtual environments hold no claims.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(
            f"{folder} cannot be listed ({error.strerror}); give a folder or file of claims"
        ) from None
    for path in paths:
        if path.name.startswith(("_", ".")):
            continue
        if path.is_dir():
            if not any((path / mark).exists() for mark in ("__init__.py", "pyvenv.cfg")):
                yield from _claim_files(path)
        elif path.suffix == ".py":
            yield path


@contextlib.contextmanager
def _shared_helpers(file: Path) -> Iterator[None]:
    """Make the folder above a claim file importable meanwhile; last, so that what lies there shadows nothing."""
    above = str(file.resolve().parent.parent)
    sys.path.append(above)
    try:
        yield
    finally:
        del sys.path[len(sys.path) - 1 - sys.path[::-1].index(above)]


def order(identifier: str) -> tuple[str, int, str]:
    """Return a sorting key: A2 before A11, A11a before A11b.

    >>> sorted(["A11b", "A2", "A11a"], key=order)
    ['A2', 'A11a', 'A11b']
    """
    match = re.fullmatch(r"([A-Za-z]+)(\d+)(.*)", identifier)
    return (match[1], int(match[2]), match[3]) if match else (identifier, 0, "")


def same_claim(identifier: str, wanted: str) -> bool:
    """Whether an id is the wanted one; one without its letter means all its parts."""
    same = identifier.lower() == wanted.lower()
    return same or (wanted[-1:].isdigit() and identifier.lower().rstrip("abcdefgh") == wanted.lower())
