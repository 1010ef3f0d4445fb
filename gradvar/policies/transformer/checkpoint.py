"""Weights from safetensors, by the names that a family gives them. Nothing in the files is executed."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from gradvar.files.atomic import read_json
from gradvar.policies.transformer.config import TransformerConfig
from gradvar.policies.transformer.families import FUSED, HEAD, PLAIN, tensor_names
from gradvar.policies.transformer.network import Params, shapes

_READ = ("F64", "F32", "F16", "BF16")  # types of numbers, as the header of a file names them
_AGAIN = "copy the whole folder of the model again"


def read_weights(folder: Path, config: TransformerConfig) -> Params:
    """The parameters from ``model.safetensors``, or from the files that its index names, as ``config.dtype``.

    A layer's matrices are stacked one by one, so that little more than the result is held. Raises ``ValueError``
    naming the tensor that is missing, of another shape, or not finite, and on tensors that nothing asked for.
    """
    with ExitStack() as stack:
        tensors = _Tensors(folder, config.dtype, stack)
        wanted = shapes(config)
        plain = dict(PLAIN)
        if config.tied and plain["embed"] not in tensors.files and HEAD in tensors.files:
            plain["embed"] = HEAD  # one matrix under either name
        params: Params = {name: tensors.take(theirs, wanted[name]) for name, theirs in plain.items()}
        if not config.tied:
            params["head"] = tensors.take(HEAD, wanted["head"][::-1]).T
        params["layers"] = _layers(tensors, config, {n: shape for n, (_, *shape) in wanted["layers"].items()})
        left = tensors.left((HEAD,) if config.tied else ())
    if left:
        raise ValueError(
            f"folder: {folder} holds {len(left)} tensors that config.json does not speak of, such as {left[0]}; "
            "the two do not belong together, or the model is not of a supported family"
        )
    return params


def _layers(tensors: "_Tensors", config: TransformerConfig, wanted: dict[str, list[int]]) -> Params:
    """Every matrix, stacked over the layers, and over the experts where it has them."""
    names, layers = tensor_names(config), {}
    fused = {part: joined for joined, parts in FUSED.items() for part in parts}
    is_fused = f"model.layers.0.{next(iter(FUSED))}" in tensors.files
    for name, shape in wanted.items():

        def matrix(layer: int, name: str = name, shape: list[int] = shape) -> Any:
            where = f"model.layers.{layer}"
            if is_fused and name in fused:  # several matrices, one below the other
                joined = fused[name]
                sizes = [wanted[part][-1] for part in FUSED[joined]]
                first = sum(sizes[: FUSED[joined].index(name)])
                return tensors.take(f"{where}.{joined}", (sum(sizes), shape[0]))[first : first + shape[-1]].T
            if len(shape) == 3:
                rows = (f"{where}.{names[name].format(expert=e)}" for e in range(shape[0]))
                return jnp.stack([tensors.take(row, tuple(shape[:0:-1])).T for row in rows])
            return tensors.take(f"{where}.{names[name]}", tuple(shape[::-1])).T

        layers[name] = jnp.stack([matrix(i) for i in range(config.layers)])
    return layers


class _Tensors:
    """The tensors of one or several safetensors files, each read when it is asked for."""

    def __init__(self, folder: Path, dtype: str, stack: ExitStack) -> None:
        self.dtype = jnp.dtype(dtype)
        self.files: dict[str, tuple[Path, Any]] = {}
        for path in _weight_files(folder):
            try:
                opened = stack.enter_context(safe_open(path, framework="numpy"))
            except (SafetensorError, OSError, ValueError) as error:
                line = str(error).splitlines()[0]
                raise ValueError(
                    f"folder: {path} is no whole safetensors file ({line}); copy it again"
                ) from None
            for name in opened.keys():  # noqa: SIM118, not a mapping
                if name in self.files:
                    raise ValueError(
                        f"folder: {name} is in {self.files[name][0]} and in {path}; the two may differ, give it once"
                    )
                self.files[name] = (path, opened)
        self.folder = folder
        self.taken: set[str] = set()

    def take(self, name: str, shape: tuple[int, ...]) -> Any:
        """One tensor of this shape, outputs by inputs where it is a matrix."""
        if name not in self.files:
            raise ValueError(
                f"folder: {self.folder} has no tensor {name}; its weights do not fit config.json"
            )
        path, opened = self.files[name]
        stored = opened.get_slice(name)
        stored_shape, kind = tuple(stored.get_shape()), stored.get_dtype()
        if stored_shape != shape:
            raise ValueError(
                f"folder: {name} in {path} has shape {stored_shape} and config.json asks for {shape}; "
                "the two do not belong together"
            )
        if kind not in _READ:
            why = (
                "complex numbers, and weights are real"
                if kind.startswith("C")
                else "and quantised weights are not supported"
            )
            raise ValueError(
                f"folder: {name} in {path} holds {kind}, {why}; save the model again in float32 or bfloat16"
            )
        try:
            tensor = opened.get_tensor(name)
        except Exception as error:  # the reader's own, and NumPy's for a type that it does not know
            line = str(error).splitlines()[0]
            raise ValueError(f"folder: {name} in {path} cannot be read ({line}); copy it again") from None
        if not np.isfinite(tensor).all():
            raise ValueError(f"folder: {name} in {path} holds a NaN or an infinity; copy it again")
        self.taken.add(name)
        return jnp.asarray(tensor, self.dtype)

    def left(self, known: tuple[str, ...]) -> list[str]:
        """What was not taken, but for buffers that other versions save too."""
        rest = set(self.files) - self.taken - set(known)
        return sorted(name for name in rest if not name.endswith("rotary_emb.inv_freq"))


def _weight_files(folder: Path) -> Iterator[Path]:
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if not index.exists():
        if not single.is_file():
            pickled = sorted(path.name for path in folder.glob("*.bin"))
            fix = (
                f"; {pickled[0]} may hold code and is not read, save the model as safetensors"
                if pickled
                else "; copy the whole folder, or save the model as safetensors"
            )
            if single.exists():
                raise ValueError(f"folder: {single} is no plain file; copy the file itself")
            raise ValueError(f"folder: {folder} has no model.safetensors and no index of one{fix}")
        yield single
        return
    listed = read_json(index, "folder", _AGAIN).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise ValueError(f"folder: {index} has no weight_map from tensors to files; copy it again")
    for name in sorted(set(listed.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(
                f"folder: {index} names the file {name!r}; give plain names of safetensors files"
            )
        if not (folder / name).is_file():
            raise ValueError(f"folder: {folder / name} is missing; copy the whole folder")
        yield folder / name
