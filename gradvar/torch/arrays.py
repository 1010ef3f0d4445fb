"""The rollouts of a trainer, checked and laid out: rows of tokens that begin with the prompt's first token.

Left padding is shifted away, and what fills a row up on the right is invisible to a causal model: no attention mask
and no positions have to be given, and a padded prompt gets the results of the same prompt without padding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from gradvar.torch.ragged import filled, is_ragged

PADDING = -1
"""The token of a bank's prompts where there is none."""
_FIELDS = ("logp_old", "logp_sampler", "logp_ref", "values", "greedy_rewards", "baseline")


@dataclass(frozen=True, eq=False)
class TorchRollouts:
    """Rollouts of Q prompts, N each, T tokens; ``as_rollouts`` makes them.

    ``prompts`` [Q, L], with ``PADDING`` on the left; ``completions`` and ``mask`` [Q, N, T]; ``tokens`` [Q N, L + T]
    and ``lengths`` [Q N], of prompts, are the rows that a model is given.
    """

    prompts: Int[np.ndarray, "prompt past"]
    completions: Int[np.ndarray, "prompt rollout time"]
    mask: Bool[np.ndarray, "prompt rollout time"]
    tokens: Int[np.ndarray, "row token"]
    lengths: Int[np.ndarray, " row"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Prompts, rollouts of each, and tokens: (Q, N, T)."""
        prompts, rollouts, time = self.completions.shape
        return prompts, rollouts, time

    def of(self, prompts: slice) -> "TorchRollouts":
        """The rollouts of a range of prompts."""
        rows = slice(*(place * self.shape[1] for place in prompts.indices(len(self.prompts))[:2]))
        return TorchRollouts(
            self.prompts[prompts],
            self.completions[prompts],
            self.mask[prompts],
            self.tokens[rows],
            self.lengths[rows],
        )

    def ends(self) -> Int[np.ndarray, " row"]:
        """Completion tokens of each row up to the last one that counts; 1 where none does."""
        flat = self.mask.reshape(-1, self.shape[2])
        return np.where(flat.any(1), flat.shape[1] - np.argmax(flat[:, ::-1], 1), 1)


def as_rollouts(
    prompts: Any,
    completions: Any,
    *,
    prompt_mask: Any = None,
    mask: Any = None,
    stop: int | None = None,
    group: int | None = None,
) -> TorchRollouts:
    """Check token ids (tensors, arrays or lists), and lay them out.

    Args:
        prompts: [prompt, past], or by row, as trainers keep them: [row, past]. Lists may be of any length, and need
            no mask then.
        completions: [prompt, rollout, time], or [row, time]; lists likewise.
        prompt_mask: False where prompts are padded, on the left.
        mask: True where a completion's token counts; without one all count up to and including the first ``stop``.
        stop: The token that ends a completion.
        group: By row: how many rows in turn belong to each prompt.

    Raises:
        ValueError: In one line, on what does not fit.
    """
    prompts, allowed = _filled(prompts, "prompts", left=True)
    completions, held = _filled(completions, "completions")
    listed, written = _tokens("prompts", prompts, 2), as_numpy(completions)
    if prompt_mask is not None:
        allowed = as_numpy(_filled(prompt_mask, "prompt_mask", left=True)[0]).astype(bool)
    allowed = np.ones(listed.shape, bool) if allowed is None else allowed
    mask = None if mask is None else _filled(mask, "mask")[0]
    if allowed.shape != listed.shape:
        raise ValueError(f"prompt_mask: shape {allowed.shape} for prompts {listed.shape}; give one per token")
    listed = np.where(allowed, listed, PADDING)
    if written.ndim == 2:
        listed, written, mask = _by_group(listed, written, mask, group)
    written = _tokens("completions", written, 3)
    if len(written) != len(listed) or not written.size:
        raise ValueError(
            f"completions: shape {written.shape} for {len(listed)} prompts; give [prompt, rollout, time]"
        )
    counted = _mask(written, mask, stop)
    counted = counted if held is None else counted & held.reshape(written.shape)
    _check_padding(listed, allowed=listed != PADDING)
    negative = (written < 0) & (np.cumsum(counted[..., ::-1], -1)[..., ::-1] > 0)
    if negative.any():
        q, n, t = (int(i) for i in np.argwhere(negative)[0])
        raise ValueError(
            f"completions: token {written[q, n, t]} at prompt {q}, rollout {n}, place {t}; give token ids, also where "
            "the mask leaves a token out before the last one that counts"
        )
    written = np.where(written < 0, 0, written)
    return TorchRollouts(listed, written, counted, *_shifted(listed, written))


def by_rollout(
    name: str, values: Any, shape: tuple[int, ...], mask: Bool[np.ndarray, "..."] | None = None
) -> Float[np.ndarray, "..."]:
    """Floats of ``shape`` from an array or tensor of that shape, or of the same with rows in one axis.

    Args:
        name: Of the argument, for messages.
        values: The numbers; lists may be of any length each.
        shape: What is wanted.
        mask: Where lists have to hold a number.
    """
    values, held = _filled(values, name)
    array = as_numpy(values).astype(np.float64)
    if held is not None and mask is not None and held.size == mask.size:
        missing = mask.reshape(-1, mask.shape[-1]) & ~held.reshape(-1, mask.shape[-1])
        if missing.any():
            row = int(np.argmax(missing.any(1)))
            raise ValueError(
                f"{name}: row {row} has {held.reshape(-1, mask.shape[-1])[row].sum()} numbers for "
                f"{mask.reshape(-1, mask.shape[-1])[row].sum()} tokens that count; give one for each"
            )
    flat = (shape[0] * shape[1], *shape[2:]) if len(shape) > 1 else shape
    if array.shape not in (shape, flat):
        raise ValueError(f"{name}: shape {array.shape}; give {shape}")
    return array.reshape(shape)


def arrays_of(rollouts: TorchRollouts, rewards: Any, fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Rewards and fields by prompt; ``ValueError`` for what is not finite or does not fit."""
    if unknown := sorted(set(fields) - set(_FIELDS)):
        raise ValueError(f"fields: '{unknown[0]}'; choose from {', '.join(_FIELDS)}")
    size, count, _ = rollouts.shape
    shapes = {"greedy_rewards": (size,), "baseline": (size,)}
    arrays = {"rewards": by_rollout("rewards", rewards, (size, count))}
    for name in _FIELDS:
        if fields.get(name) is not None:
            per_token = name not in shapes
            counted = rollouts.mask if per_token else None
            arrays[name] = by_rollout(name, fields[name], shapes.get(name, rollouts.shape), counted)
            if name.startswith("logp"):
                arrays[name] = np.where(rollouts.mask, arrays[name], 0.0)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            where = ", ".join(map(str, np.argwhere(~np.isfinite(array))[0]))
            raise ValueError(f"{name}: {array[~np.isfinite(array)][0]} at [{where}]; give finite numbers")
    return arrays


def as_numpy(values: Any) -> np.ndarray:
    """Convert an array, a nested list or a tensor on any device."""
    detach = getattr(values, "detach", None)
    if detach is None:
        return np.asarray(values)
    tensor = detach().cpu()
    return tensor.float().numpy() if str(tensor.dtype) == "torch.bfloat16" else tensor.numpy()


def _filled(values: Any, name: str, *, left: bool = False) -> tuple[Any, Bool[np.ndarray, "..."] | None]:
    """Lists as an array, and where it holds their numbers; all else as it is, and None."""
    return filled(values, name, left=left) if is_ragged(values) else (values, None)


def _tokens(name: str, values: Any, axes: int) -> np.ndarray:
    array = as_numpy(values)
    if array.ndim != axes or not np.issubdtype(array.dtype, np.integer):
        wanted = "[prompt, past]" if axes == 2 else "[prompt, rollout, time], or [row, time] with group=..."
        raise ValueError(f"{name}: shape {array.shape}, {array.dtype}; give integer token ids {wanted}")
    return array.astype(np.int64)


def _by_group(
    listed: np.ndarray, written: np.ndarray, mask: Any, group: int | None
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Rows, a prompt's one after another, as prompts and rollouts."""
    rows = len(written)
    if group is None or group < 1 or rows % group or len(listed) != rows:
        raise ValueError(
            f"group: {group} with {rows} completions and {len(listed)} prompts by row; give how many rows in turn "
            "belong to each prompt, and every row's prompt"
        )
    grouped = listed.reshape(rows // group, group, -1)
    if (grouped != grouped[:, :1]).any():
        row = int(np.argwhere((grouped != grouped[:, :1]).any(-1))[0] @ [group, 1])
        raise ValueError(f"prompts: row {row} differs from its group's first of {group}; sort rows by prompt")
    shape = (rows // group, group, -1)
    return grouped[:, 0], written.reshape(shape), None if mask is None else as_numpy(mask).reshape(shape)


def _mask(written: np.ndarray, mask: Any, stop: int | None) -> np.ndarray:
    if mask is not None:
        array = as_numpy(mask)
        if array.shape != written.shape and array.size == written.size and array.ndim == 2:
            array = array.reshape(written.shape)
        if array.shape != written.shape:
            raise ValueError(f"mask: shape {array.shape} for completions {written.shape}; give one per token")
        return array.astype(bool)
    if stop is None:
        return np.ones(written.shape, bool)
    stops = written == stop
    return np.cumsum(stops, -1) - stops == 0


def _check_padding(listed: np.ndarray, allowed: np.ndarray) -> None:
    if not allowed.any(1).all():
        row = int(np.argmin(allowed.any(1)))
        raise ValueError(f"prompts: prompt {row} is all padding; give one token at least")
    if (np.diff(allowed.astype(int), axis=1) < 0).any():
        row = int(np.argmax((np.diff(allowed.astype(int), axis=1) < 0).any(1)))
        raise ValueError(f"prompt_mask: prompt {row} has padding after a token; pad prompts on the left")
    if (listed[allowed] < 0).any():
        raise ValueError(
            f"prompts: token {listed[allowed].min()}; give token ids, and a prompt_mask for padding"
        )


def _shifted(listed: np.ndarray, written: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prompt and completion without the padding before them, [row, token], and the prompts' lengths."""
    rollouts, time = written.shape[1:]
    past = listed.shape[1]
    rows = np.concatenate([np.repeat(listed, rollouts, axis=0), written.reshape(-1, time)], axis=1)
    lengths = np.repeat((listed != PADDING).sum(1), rollouts)
    place = np.arange(rows.shape[1]) + past - lengths[:, None]
    shifted = np.take_along_axis(rows, np.minimum(place, rows.shape[1] - 1), axis=1)
    return np.where(place < rows.shape[1], shifted, 0), lengths
