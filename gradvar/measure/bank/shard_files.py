"""The files of one shard: three of arrays, as safetensors, and a manifest with everything else and their checksums."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from gradvar.files.atomic import file_digest, read_json, write_file
from gradvar.measure.bank.data import BasisRows, Recording, Rollouts
from gradvar.measure.bank.scores import scores_of

FORMAT = 1
FILES = ("rollouts", "rows", "scores")
_AGAIN = "record the bank again"
_AXES: dict[str, tuple[str, str]] = {  # kind of number and axes of every array
    "completions": ("iu", "QNT"), "rewards": ("f", "QN"), "mask": ("b", "QNT"), "logp": ("f", "QNT"),
    "logp_old": ("f", "QNT"), "logp_ref": ("f", "QNT"), "logp_sampler": ("f", "QNT"), "values": ("f", "QNT"),
    "greedy_rewards": ("f", "Q"), "baseline": ("f", "Q"), "reward_parts": ("f", "QNC"), "basis": ("f", "QNBT"),
    "vectors": ("f", "QMK"), "gram": ("f", "QMM"), "cross": ("f", "QMQM"), "truth": ("f", "QM"),
    "true_gradient": ("f", "P"),
}  # fmt: skip
# Figures multiply scores four times: what is beyond these overflows, or is a NaN, and no bank that was recorded has it.
_LARGEST = {"vectors": 1e15, "true_gradient": 1e15, "gram": 1e30, "cross": 1e30, "truth": 1e30}
_LARGEST |= {"basis": 1e15, "rewards": 1e15}
_OPTIONAL = ("values", "greedy_rewards", "baseline", "reward_parts", "logp_sampler")
_SCORES = ("vectors", "gram", "cross", "truth", "true_gradient")


def write_shard(recording: Recording, folder: Path) -> None:
    """Write the files of a shard into ``folder``, which is there."""
    content: dict[str, Mapping[str, np.ndarray]] = {
        "rollouts": _flat_rollouts(recording.rollouts),
        "rows": {"basis": recording.rows.basis},
        "scores": recording.scores.arrays(),
    }
    for name, arrays in content.items():
        try:
            save_file({n: np.ascontiguousarray(x) for n, x in arrays.items()}, _file(folder, name))
        except SafetensorError as error:  # its way of saying that the disk is full
            raise OSError(str(error)) from error
    manifest = {
        "format": FORMAT,
        "drawn": recording.drawn,
        "tolerance": recording.tolerance,
        "info": dict(recording.info),
        "shape": dict(zip(("prompts", "rollouts", "time"), recording.rollouts.shape, strict=True)),
        "sha256": {name: file_digest(_file(folder, name)) for name in FILES},
    }
    write_manifest(folder, manifest)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a shard's manifest, with a checksum of its values."""
    signed = {**manifest, "sha256_of_this": _checksum(manifest)}
    write_file(folder / "manifest.json", (json.dumps(signed, indent=1) + "\n").encode())


def read_shard(folder: Path, prompts: slice | None) -> Recording:
    """Read a shard, or a contiguous range of its prompts; all files are compared with their checksums."""
    manifest = _read_manifest(folder)
    for name in FILES:
        path = _file(folder, name)
        if not path.is_file():
            raise ValueError(f"folder: {path} is missing; copy the whole folder")
        if file_digest(path) != manifest["sha256"][name]:
            raise ValueError(f"folder: {path} is not what was written (checksum); {_AGAIN}")
    sizes = dict(zip("QNT", (manifest["shape"][n] for n in ("prompts", "rollouts", "time")), strict=True))
    written = sizes["Q"]
    wanted = slice(0, written) if prompts is None else prompts
    sizes["Q"] = len(range(*wanted.indices(written)))
    rollouts = _rollouts(_read(_file(folder, "rollouts"), wanted, written), sizes, folder)
    arrays = _read(_file(folder, "rows"), wanted, written)
    _check(arrays, sizes, ("basis",), (), _file(folder, "rows"))
    rows = BasisRows.of(arrays["basis"])
    sizes["M"] = rows.shape[1]
    arrays = _read(_file(folder, "scores"), wanted, written)
    arrays = _narrowed(arrays, rows.shape[1], wanted)
    _check(arrays, sizes, (), _SCORES, _file(folder, "scores"))
    info = manifest["info"]
    try:
        scores = scores_of(arrays, str(info.get("map")))
    except ValueError as error:
        raise ValueError(f"folder: {_file(folder, 'scores')} is damaged ({error}); {_AGAIN}") from None
    return Recording(rollouts, rows, scores, manifest["drawn"], manifest["tolerance"], info)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, with everything that is used of it of the right kind."""
    path = folder / "manifest.json"
    manifest = read_json(path, "folder", _AGAIN)
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"folder: {folder} has format {repr(manifest.get('format'))[:40]}, and this version reads {FORMAT}"
        )
    if manifest.get("sha256_of_this") != _checksum(manifest):
        raise ValueError(f"folder: {path} is not what was written (checksum); {_AGAIN}")
    shape, sums = manifest.get("shape"), manifest.get("sha256")
    fits = {
        "shape": isinstance(shape, dict)
        and all(type(shape.get(n)) is int and shape[n] > 0 for n in ("prompts", "rollouts", "time")),
        "sha256": isinstance(sums, dict) and all(isinstance(sums.get(n), str) for n in FILES),
        "drawn": isinstance(manifest.get("drawn"), bool),
        "tolerance": type(manifest.get("tolerance")) is float and math.isfinite(manifest["tolerance"]),
        "info": isinstance(manifest.get("info"), dict),
    }
    if wrong := [name for name, fit in fits.items() if not fit]:
        value = str(manifest.get(wrong[0]))[:40]
        raise ValueError(f"folder: {path} is damaged ({wrong[0]}: {value}); {_AGAIN}")
    return manifest


def _checksum(manifest: Mapping[str, Any]) -> str:
    """Of a manifest's values, without the checksum itself."""
    plain = json.loads(json.dumps({n: x for n, x in manifest.items() if n != "sha256_of_this"}))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _rollouts(arrays: dict[str, np.ndarray], sizes: Mapping[str, int], folder: Path) -> Rollouts:
    leaves = sorted(n for n in arrays if n == "prompts" or n.startswith("prompts."))
    rest = {n: x for n, x in arrays.items() if n not in leaves}
    names = [f.name for f in fields(Rollouts) if f.name not in ("prompts", *_OPTIONAL)]
    path = _file(folder, "rollouts")
    _check(rest, sizes, names, _OPTIONAL, path)
    if not leaves:
        raise ValueError(f"folder: {path} has no prompt for every rollout's row; {_AGAIN}")
    named = {n.split(".", 1)[1]: arrays[n] for n in leaves if n != "prompts"}
    return Rollouts(prompts=arrays["prompts"] if "prompts" in leaves else named, **rest)


def _flat_rollouts(rollouts: Rollouts) -> dict[str, np.ndarray]:
    arrays = rollouts.arrays()
    prompts = arrays.pop("prompts")
    if isinstance(prompts, Mapping):
        return {**arrays, **{f"prompts.{name}": np.asarray(x) for name, x in prompts.items()}}
    if not isinstance(prompts, np.ndarray):
        raise ValueError(
            f"prompts: a {type(prompts).__name__} cannot be saved; use an array, or a mapping of arrays"
        )
    return {**arrays, "prompts": prompts}


def _check(
    arrays: Mapping[str, np.ndarray],
    sizes: Mapping[str, int],
    needed: Collection[str],
    allowed: Collection[str],
    path: Path,
) -> None:
    """Raise ``ValueError`` unless a file holds what it should, of kinds and shapes that belong together."""
    if missing := sorted({*needed} - {*arrays}):
        raise ValueError(f"folder: {path} has no {missing[0]}; {_AGAIN}")
    if odd := sorted({*arrays} - {*needed, *allowed}):
        raise ValueError(f"folder: {path} has an array {odd[0][:40]!r}, which no bank has; {_AGAIN}")
    known = dict(sizes)  # lengths of axes by their letter
    for name, array in arrays.items():
        kinds, axes = _AXES[name]
        fits = array.dtype.kind in kinds and array.ndim == len(axes)
        fits = fits and all(known.setdefault(a, n) == n for a, n in zip(axes, array.shape, strict=True))
        if not fits:
            raise ValueError(
                f"folder: {path} has {name} of {array.dtype} {array.shape}, which does not fit the rest; {_AGAIN}"
            )
        largest = float(np.max(np.abs(array), initial=0)) if name in _LARGEST else 0.0
        if not largest <= _LARGEST.get(name, 0.0):  # not so of a NaN either
            raise ValueError(
                f"folder: {path} has {name} of {largest:g}, of which nothing can be told; {_AGAIN}"
            )


def _narrowed(scores: dict[str, np.ndarray], width: int, wanted: slice) -> dict[str, np.ndarray]:
    """The arrays with ``width`` rows of a prompt: fewer prompts may need fewer."""
    narrowed = dict(scores)
    for name in ("vectors", "gram", "cross", "truth"):
        if name in narrowed and narrowed[name].ndim > 1:
            narrowed[name] = narrowed[name][:, :width]
    if "gram" in narrowed and narrowed["gram"].ndim == 3:
        narrowed["gram"] = narrowed["gram"][:, :, :width]
    if "cross" in narrowed and narrowed["cross"].ndim == 4:
        narrowed["cross"] = narrowed["cross"][:, :, wanted, :width]
    return narrowed


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def _read(path: Path, wanted: slice, written: int) -> dict[str, np.ndarray]:
    """The wanted prompts of every array of a file, each of which has to hold as many prompts as were written."""
    try:
        with safe_open(path, framework="numpy") as file:
            shapes = {n: file.get_slice(n).get_shape() for n in file.keys()}  # noqa: SIM118
            wrong = [(n, x[a]) for n, x in shapes.items() for a in _prompt_axes(n, x) if x[a] != written]
            arrays = {n: file.get_slice(n)[wanted] for n in shapes if n != "true_gradient" and not wrong}
            if "true_gradient" in shapes:
                arrays["true_gradient"] = file.get_tensor("true_gradient")
    except (SafetensorError, TypeError, ValueError, AttributeError, KeyError, IndexError, OSError) as error:
        raise ValueError(f"folder: {path} is damaged ({str(error)[:80]}); {_AGAIN}") from None
    if wrong:
        name, length = wrong[0]
        raise ValueError(
            f"folder: {path} has {name[:40]} of length {length}, and its manifest says {written} prompts; {_AGAIN}"
        )
    return arrays


def _prompt_axes(name: str, shape: list[int]) -> list[int]:
    """The axes of an array along which its prompts stand; an array of the task's own name starts with them."""
    _, axes = _AXES.get(name, ("", "Q"))
    return [axis for axis in range(min(len(axes), len(shape))) if axes[axis] == "Q"]
