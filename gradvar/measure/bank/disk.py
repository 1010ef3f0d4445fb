"""A score bank on disk: arrays as safetensors, everything else in a manifest. No pickle, nothing is executed.

    folder/manifest.json          format, how the bank was recorded, shapes, sha256 of every file
    folder/pool.safetensors       prompts, completions, rewards, masks, log-probabilities
    folder/rows.safetensors       the basis
    folder/scores.safetensors     the rows' images

Only the range of prompts that is asked for is read, apart from the check of the files. Whatever the files hold, reading
them takes no more memory than they are long, and ends with a bank or with one ``ValueError``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from gradvar.files.atomic import file_digest, read_json, write_file, writing
from gradvar.measure.bank.bank import Rows, ScoreBank, Scores
from gradvar.measure.bank.sample import Pool

FORMAT = 1
_FILES = ("pool", "rows", "scores")
_AGAIN = "record the bank again"
_AXES: dict[str, tuple[str, str]] = {  # kind of number and axes of what a pool may hold
    "completions": ("iu", "QNT"), "rewards": ("f", "QN"), "mask": ("b", "QNT"), "logp": ("f", "QNT"),
    "logp_old": ("f", "QNT"), "logp_ref": ("f", "QNT"), "values": ("f", "QNT"), "greedy_rewards": ("f", "Q"),
    "baseline": ("f", "Q"), "basis": ("f", "QNBT"), "vectors": ("f", "QMK"), "gram": ("f", "QMM"),
    "cross": ("f", "QMQM"), "truth": ("f", "QM"), "true_gradient": ("f", "P"),
}  # fmt: skip
_OPTIONAL = ("values", "greedy_rewards", "baseline")


def save(bank: ScoreBank, folder: Path) -> Path:
    """Write the bank to ``folder``, which is made; the manifest comes last, so that a torn write is noticed.

    Raises ``ValueError`` where the disk is full or cannot be written."""
    content: dict[str, Mapping[str, np.ndarray]] = {
        "pool": _flat_pool(bank.pool),
        "rows": {"basis": bank.rows.basis},
        "scores": {n: x for n, x in vars(bank.scores).items() if x is not None},
    }
    with writing(folder, "folder"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").unlink(missing_ok=True)
        for name, arrays in content.items():
            _save_file({n: np.ascontiguousarray(x) for n, x in arrays.items()}, _file(folder, name))
        manifest = {
            "format": FORMAT,
            "drawn": bank.drawn,
            "tolerance": bank.tolerance,
            "info": dict(bank.info),
            "shape": dict(zip(("prompts", "rollouts", "time"), bank.pool.shape, strict=True)),
            "sha256": {name: file_digest(_file(folder, name)) for name in _FILES},
        }
        manifest["sha256_of_this"] = _sum(manifest)
        write_file(folder / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())
    return folder


def load(folder: Path, prompts: slice | None = None, verify: bool = True) -> ScoreBank:
    """Open a bank, or a contiguous range of its prompts; of ``record_long``'s shards, those that are there.

    ``verify`` compares the files with their checksums. Raises ``ValueError`` where the folder holds no whole bank, or
    where a file is not what was written.
    """
    if (folder / "run.json").is_file() and not (folder / "manifest.json").exists():
        from gradvar.measure.bank.shards import load_shards

        return load_shards(folder, prompts, verify)
    if not (folder / "manifest.json").exists():
        raise ValueError(f"folder: {folder} has no manifest.json; give a folder that ScoreBank.save wrote")
    manifest = _manifest(folder)
    for name in _FILES:
        path = _file(folder, name)
        if not path.is_file():
            raise ValueError(f"folder: {path} is missing; copy the whole folder")
        if verify and file_digest(path) != manifest["sha256"][name]:
            raise ValueError(f"folder: {path} is not what was written (checksum); copy it again or {_AGAIN}")
    sizes = dict(zip("QNT", (manifest["shape"][n] for n in ("prompts", "rollouts", "time")), strict=True))
    take = taken(prompts, sizes["Q"])
    sizes["Q"] = len(range(*take.indices(sizes["Q"])))
    pool = _pool(_read(_file(folder, "pool"), take), sizes, folder)
    found = _read(_file(folder, "rows"), take)
    _check(found, sizes, ("basis",), (), folder / "rows.safetensors")
    rows = Rows.of(found["basis"])
    scores = _read(_file(folder, "scores"), take, whole=("true_gradient",))
    scores = _narrowed(scores, rows.rollout.shape[1], take)
    sizes["M"] = rows.rollout.shape[1]
    names = tuple(f.name for f in dataclasses.fields(Scores))
    _check(scores, sizes, (), names, folder / "scores.safetensors")
    if not {"vectors", "gram", "cross"} & set(scores):
        raise ValueError(f"folder: {folder / 'scores.safetensors'} holds no scores; {_AGAIN}")
    return ScoreBank(pool, rows, Scores(**scores), manifest["drawn"], manifest["tolerance"], manifest["info"])


def taken(prompts: slice | None, size: int) -> slice:
    """A range of ``size`` prompts, all of them by default; refused where it is empty or has gaps."""
    take = slice(0, size) if prompts is None else slice(*prompts.indices(size))
    if len(range(*take.indices(size))) == 0 or (take.step or 1) != 1:
        raise ValueError(f"prompts: {prompts} of {size}; give a range such as slice(0, 8)")
    return take


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest, with everything that is used of it of the right kind."""
    path = folder / "manifest.json"
    found = read_json(path, "folder", _AGAIN)
    if found.get("format") != FORMAT:
        raise ValueError(
            f"folder: {folder} has format {repr(found.get('format'))[:40]}, and this version reads {FORMAT}"
        )
    if found.get("sha256_of_this", _sum(found)) != _sum(found):  # older banks have none
        raise ValueError(f"folder: {path} is not what was written (checksum); copy it again or {_AGAIN}")
    shape, sums = found.get("shape"), found.get("sha256")
    fits = {
        "shape": isinstance(shape, dict)
        and all(type(shape.get(n)) is int and shape[n] > 0 for n in ("prompts", "rollouts", "time")),
        "sha256": isinstance(sums, dict) and all(isinstance(sums.get(n), str) for n in _FILES),
        "drawn": isinstance(found.get("drawn"), bool),
        "tolerance": type(found.get("tolerance")) is float and math.isfinite(found["tolerance"]),
        "info": isinstance(found.get("info"), dict),
    }
    if wrong := [name for name, fit in fits.items() if not fit]:
        raise ValueError(f"folder: {path} is damaged ({wrong[0]}: {str(found.get(wrong[0]))[:40]}); {_AGAIN}")
    return found


def _sum(manifest: Mapping[str, Any]) -> str:
    """Of a manifest's values, without the sum itself."""
    plain = json.loads(json.dumps({n: x for n, x in manifest.items() if n != "sha256_of_this"}))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _pool(arrays: dict[str, np.ndarray], sizes: Mapping[str, int], folder: Path) -> Pool:
    leaves = sorted(n for n in arrays if n == "prompts" or n.startswith("prompts."))
    rest = {n: x for n, x in arrays.items() if n not in leaves}
    names = [f.name for f in dataclasses.fields(Pool) if f.name not in ("prompts", *_OPTIONAL)]
    _check(rest, sizes, names, _OPTIONAL, folder / "pool.safetensors")
    if not leaves or any(not arrays[n].ndim or len(arrays[n]) != sizes["Q"] for n in leaves):
        raise ValueError(
            f"folder: {folder / 'pool.safetensors'} has no prompt for every rollout's row; {_AGAIN}"
        )
    listed: Any = (
        arrays["prompts"] if "prompts" in leaves else {n.split(".", 1)[1]: arrays[n] for n in leaves}
    )
    return Pool(prompts=listed, **rest)


def _check(
    arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int], needed: Any, allowed: Any, path: Path
) -> None:
    """Whether a file holds what it should, of the kinds and shapes that belong together."""
    if missing := sorted({*needed} - {*arrays}):
        raise ValueError(f"folder: {path} has no {missing[0]}; {_AGAIN}")
    if odd := sorted({*arrays} - {*needed, *allowed}):
        raise ValueError(f"folder: {path} has an array {odd[0][:40]!r}, which no bank has; {_AGAIN}")
    known = dict(sizes)
    for name, array in arrays.items():
        kinds, axes = _AXES[name]
        fits = array.dtype.kind in kinds and array.ndim == len(axes)
        fits = fits and all(known.setdefault(a, n) == n for a, n in zip(axes, array.shape, strict=True))
        if not fits:
            raise ValueError(
                f"folder: {path} has {name} of {array.dtype} {array.shape}, which does not fit the rest; {_AGAIN}"
            )


def _narrowed(scores: dict[str, np.ndarray], width: int, take: slice) -> dict[str, np.ndarray]:
    """Fewer prompts may need fewer rows."""
    found = dict(scores)
    for name in ("vectors", "gram", "cross", "truth"):
        if name in found and found[name].ndim > 1:
            found[name] = found[name][:, :width]
    if "gram" in found and found["gram"].ndim == 3:
        found["gram"] = found["gram"][:, :, :width]
    if "cross" in found and found["cross"].ndim == 4:
        found["cross"] = found["cross"][:, :, take, :width]
    return found


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


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def _save_file(arrays: dict[str, np.ndarray], path: Path) -> None:
    try:
        save_file(arrays, path)
    except SafetensorError as error:  # its way of saying that the disk is full
        raise OSError(str(error)) from error


def _read(path: Path, take: slice, whole: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="numpy") as file:
            return {
                n: file.get_tensor(n) if n in whole else file.get_slice(n)[take]
                for n in file.keys()  # noqa: SIM118
            }
    except (SafetensorError, TypeError, ValueError, AttributeError, KeyError, IndexError, OSError) as error:
        raise ValueError(f"folder: {path} is damaged ({str(error)[:80]}); {_AGAIN}") from None
