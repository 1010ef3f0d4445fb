"""One part of the prompts of given rollouts, recorded into a folder that several processes share."""

import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gradvar.files.atomic import Lock, claim, writing
from gradvar.files.fingerprint import digest, fingerprint
from gradvar.gradients.sketch import Gram, Sketch, Whole
from gradvar.measure.bank.data import Recording
from gradvar.measure.bank.disk import ShardLayout, load
from gradvar.measure.bank.recorder import ShardPart
from gradvar.measure.bank.score import WHOLE
from gradvar.torch.sharded import agreed, is_sharded, whole_parameter

_WAIT = 60.0  # seconds in which another part's process has claimed the folder
_LOOKED_AT = 1024  # numbers of a parameter by which other weights are noticed


def check_parts(parameters: Mapping[str, torch.Tensor], scores: Any) -> None:
    """Raise ``ValueError`` for what cannot be recorded in parts."""
    if is_sharded(parameters) and scores != "auto" and not isinstance(scores, Sketch):
        raise ValueError(
            f"scores: {scores} with parameters that are cut over processes; give scores=Sketch('hashed')"
        )
    if isinstance(scores, Gram) and scores.cross:
        raise ValueError(
            "scores: Gram across parts would need every score again; give Gram(cross=False), Whole() or Sketch()"
        )


def map_of_parts(
    scores: Any, whole_bytes: int, parameters: Mapping[str, torch.Tensor]
) -> Whole | Gram | Sketch:
    """What all parts keep, from the size of all scores together."""
    if scores != "auto":
        chosen: Whole | Gram | Sketch = scores
        return chosen
    return Whole() if whole_bytes <= WHOLE and not is_sharded(parameters) else Sketch()


def weights_of(parameters: Mapping[str, torch.Tensor]) -> str:
    """A hash of names, shapes and some numbers of every parameter, the same over however many processes it is cut."""
    some = {}
    for name, parameter in parameters.items():
        flat = whole_parameter(parameter.detach()).reshape(-1)
        step = max(1, flat.numel() // _LOOKED_AT)
        some[f"{name} {tuple(parameter.shape)}"] = flat[::step].float().cpu().numpy()
    return digest(some)


def record_part(
    folder: Path,
    part: ShardPart,
    facts: Mapping[str, Any],
    prompts: int,
    recorded: Callable[[slice], Recording],
    together: bool = False,
) -> Recording:
    """Record a part where it is missing, and return what is in the folder by then.

    Args:
        folder: What the processes share.
        part: Which one.
        facts: What the numbers of all parts depend on; a folder of others is refused.
        prompts: Of all parts.
        recorded: Records a range of prompts.
        together: All processes of the default group record this part; the first one has the folder and writes.

    Raises:
        ValueError: There are fewer prompts than parts, or the folder is another run's, or the disk is full.
    """
    shard = -(-prompts // part.of)
    run = {**facts, "prompts": prompts, "shard": shard}
    layout, number = ShardLayout(folder, prompts, shard, fingerprint(run)), part.number - 1
    if number >= layout.count:
        raise ValueError(
            f"part: {part.number} of {part.of} for {prompts} prompts; give {layout.count} parts at most"
        )
    with ExitStack() as locks:

        def is_missing() -> bool:
            with Lock(folder, "folder", wait=_WAIT):
                claim(folder, run, "folder")
            locks.enter_context(Lock(folder / f".part-{part.number}-of-{part.of}", "folder"))
            return not _is_there(layout, number)

        if agreed(is_missing) if together else is_missing():
            recording = recorded(slice(*layout.range(number)))

            def write() -> None:
                with writing(folder, "folder"):
                    layout.write(number, recording)

            agreed(write) if together else write()
        with warnings.catch_warnings():  # what the other parts have not written yet is no surprise
            warnings.filterwarnings("ignore", "folder: .* holds", UserWarning)
            return load(folder)


def _is_there(layout: ShardLayout, number: int) -> bool:
    """Whether the shard is whole; a damaged one is removed, which is said."""
    if number not in layout.written():
        return False
    try:
        layout.read(number)
    except ValueError as error:
        warnings.warn(f"{str(error).rsplit(';', 1)[0]}; this part is recorded again", stacklevel=4)
        layout.remove(number)
        return False
    return True


def range_of(arrays: Mapping[str, np.ndarray], prompts: slice) -> dict[str, np.ndarray]:
    """The same arrays of a range of prompts."""
    return {name: array[prompts] for name, array in arrays.items()}
