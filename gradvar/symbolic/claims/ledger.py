"""Finding claim files: the repository's, the ones in the wheel, or a user's folder."""

from __future__ import annotations

import importlib.util
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from gradvar.symbolic.claims.claim import Claim


def proofs_folder() -> Path:
    """The bundled claims: ``gradvar/_proofs`` in a wheel, ``proofs/`` beside the package in a checkout."""
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
        for value in vars(import_file(file)).values():
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
    for path in sorted(folder.iterdir()):
        if path.name.startswith(("_", ".")):
            continue
        if path.is_dir():
            if not any((path / mark).exists() for mark in ("__init__.py", "pyvenv.cfg")):
                yield from _claim_files(path)
        elif path.suffix == ".py":
            yield path


def order(identifier: str) -> tuple[str, int, str]:
    """A sorting key: A2 before A11, A11a before A11b."""
    match = re.fullmatch(r"([A-Za-z]+)(\d+)(.*)", identifier)
    return (match[1], int(match[2]), match[3]) if match else (identifier, 0, "")


def import_file(file: Path) -> ModuleType:
    """Import a file as a module of its own. Meanwhile its folder, and last the folder above, are importable."""
    name = f"gradvar_claims_{zlib.crc32(str(file.resolve()).encode()):08x}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file}: cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    nearby = str(file.parent), str(file.resolve().parent.parent)
    sys.path.insert(0, nearby[0])
    sys.path.append(nearby[1])  # last: what lies there shadows nothing
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises, the file is what to name
        raise ValueError(f"{file.name}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(nearby[0])
        del sys.path[len(sys.path) - 1 - sys.path[::-1].index(nearby[1])]
    return module
