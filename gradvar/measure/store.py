"""A score bank on disk: arrays as safetensors, everything else in a manifest. No pickle, nothing is executed.

    folder/manifest.json          format, how the bank was recorded, shapes, sha256 of every file
    folder/pool.safetensors       prompts, completions, rewards, masks, log-probabilities
    folder/rows.safetensors       the basis
    folder/scores.safetensors     the rows' images

Only the range of prompts that is asked for is read, apart from the check of the files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from gradvar.measure.bank import Rows, ScoreBank, Scores
from gradvar.measure.rollouts import Pool

FORMAT = 1
_FILES = ("pool", "rows", "scores")


def save(bank: ScoreBank, folder: Path) -> Path:
    """Write the bank to ``folder``, which is made; the manifest comes last, so that a torn write is
    noticed."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest_path = folder / "manifest.json"
    manifest_path.unlink(missing_ok=True)
    content: dict[str, Mapping[str, np.ndarray]] = {
        "pool": _flat_pool(bank.pool),
        "rows": {"basis": bank.rows.basis},
        "scores": {n: x for n, x in vars(bank.scores).items() if x is not None},
    }
    for name, arrays in content.items():
        save_file({n: np.ascontiguousarray(x) for n, x in arrays.items()}, folder / f"{name}.safetensors")
    manifest = {
        "format": FORMAT,
        "drawn": bank.drawn,
        "tolerance": bank.tolerance,
        "info": dict(bank.info),
        "shape": dict(zip(("prompts", "rollouts", "time"), bank.pool.shape, strict=True)),
        "sha256": {name: _digest(folder / f"{name}.safetensors") for name in _FILES},
    }
    written = folder / "manifest.json.new"
    written.write_text(json.dumps(manifest, indent=1) + "\n")
    os.replace(written, manifest_path)
    return folder


def load(folder: Path, prompts: slice | None = None, verify: bool = True) -> ScoreBank:
    """Open a bank, or a contiguous range of its prompts. ``verify`` compares the files with their checksums.

    Raises ``ValueError`` where the folder holds no whole bank, or where a file is not what was written.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except FileNotFoundError:
        raise ValueError(
            f"folder: {folder} has no manifest.json; give a folder that ScoreBank.save wrote"
        ) from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"folder: {folder}/manifest.json is damaged ({error.msg}); record the bank again"
        ) from None
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"folder: {folder} has format {manifest.get('format')!r}, and this version reads {FORMAT}"
        )
    for name in _FILES:
        path = folder / f"{name}.safetensors"
        if not path.is_file():
            raise ValueError(f"folder: {path} is missing; copy the whole folder")
        if verify and _digest(path) != manifest["sha256"][name]:
            raise ValueError(
                f"folder: {path} is not what was written (checksum); copy it again or record the bank again"
            )
    size = manifest["shape"]["prompts"]
    take = slice(None) if prompts is None else slice(*prompts.indices(size))
    if len(range(*take.indices(size))) == 0 or (take.step or 1) != 1:
        raise ValueError(f"prompts: {prompts} of {size}; give a range such as slice(0, 8)")
    pool = _read(folder / "pool.safetensors", take)
    leaves = sorted(n for n in pool if n.startswith("prompts"))
    listed: Any = pool[leaves[0]] if leaves == ["prompts"] else {n.split(".", 1)[1]: pool[n] for n in leaves}
    rest = {n: x for n, x in pool.items() if not n.startswith("prompts")}
    rows = Rows.of(_read(folder / "rows.safetensors", take)["basis"])
    scores = _read(folder / "scores.safetensors", take, whole=("true_gradient",))
    width = rows.rollout.shape[1]
    for name in ("vectors", "gram", "cross", "truth"):  # fewer prompts may need fewer rows
        if name in scores:
            scores[name] = scores[name][:, :width]
    if "gram" in scores:
        scores["gram"] = scores["gram"][:, :, :width]
    if "cross" in scores:
        scores["cross"] = scores["cross"][:, :, take, :width]
    return ScoreBank(
        Pool(prompts=listed, **rest),
        rows,
        Scores(**scores),
        manifest["drawn"],
        manifest["tolerance"],
        manifest["info"],
    )


def _flat_pool(pool: Pool) -> dict[str, np.ndarray]:
    arrays = pool.arrays()
    prompts = arrays.pop("prompts")
    if isinstance(prompts, Mapping):
        return {**arrays, **{f"prompts.{name}": np.asarray(x) for name, x in prompts.items()}}
    if not isinstance(prompts, np.ndarray):
        raise ValueError(
            f"prompts: a {type(prompts).__name__} cannot be saved; use an array, or a mapping of arrays"
        )
    return {**arrays, "prompts": prompts}


def _read(path: Path, take: slice, whole: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    with safe_open(path, framework="numpy") as file:
        return {n: file.get_tensor(n) if n in whole else file.get_slice(n)[take] for n in file.keys()}  # noqa: SIM118


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
