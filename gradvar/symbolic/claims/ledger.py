"""Finding claim files: the repository's, the ones in the wheel, or a user's folder."""

from __future__ import annotations

import importlib.util
import re
import sys
import zlib
from pathlib import Path
from types import ModuleType

from gradvar.symbolic.claims.claim import Claim


def proofs_folder() -> Path:
    """The bundled claims: ``gradvar/_proofs`` in a wheel, ``proofs/`` beside the package in a checkout."""
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "_proofs", package.parent / "proofs"):
        if folder.is_dir() and any(folder.glob("*.py")):
            return folder
    raise FileNotFoundError(
        "no claims found: neither gradvar/_proofs (wheel) nor proofs/ (checkout) is there"
    )


def load(folder: Path | str) -> list[Claim]:
    """All claims of a folder (or of one file), by id. Raises ``ValueError`` on two claims with one id or on
    none."""
    folder = Path(folder)
    files = (
        [folder] if folder.is_file() else sorted(f for f in folder.glob("*.py") if not f.name.startswith("_"))
    )
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


def order(identifier: str) -> tuple[str, int, str]:
    """A sorting key: A2 before A11, A11a before A11b."""
    match = re.fullmatch(r"([A-Za-z]+)(\d+)(.*)", identifier)
    return (match[1], int(match[2]), match[3]) if match else (identifier, 0, "")


def import_file(file: Path) -> ModuleType:
    """A file as a module of its own, its folder importable meanwhile."""
    name = f"gradvar_claims_{zlib.crc32(str(file.resolve()).encode()):08x}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file}: cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises, the file is what to name
        raise ValueError(f"{file.name}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(file.parent))
    return module
