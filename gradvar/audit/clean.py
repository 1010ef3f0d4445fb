"""From what a file holds to figures: every value is a number that can be used, or its row is counted as malformed."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from gradvar.audit.blocks import Block
from gradvar.audit.columns import Layout
from gradvar.audit.malformed import Faults

_NUMBER = r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$"
LARGEST = 1e100  # the squares of larger rewards overflow
_LABEL = 64  # a key up to this long is kept to be shown; of a longer one, its hash


class Names:
    """Numbers 0, 1, ... for keys. A key of up to 64 bytes is kept; of a longer one, 128 bits of a hash (BLAKE2b), so
    that prompts of any length cost the same.

    Two of n different keys share a hash with a chance below n^2 / 2^129: 1e-21 for a thousand million keys.
    """

    def __init__(self) -> None:
        self._known: dict[bytes | str, int] = {}  # a short key as bytes, a hash as text: they are never equal

    def __len__(self) -> int:
        return len(self._known)

    def number(self, key: bytes) -> int:
        """The key's number; a new one for a new key."""
        short = key if len(key) <= _LABEL else hashlib.blake2b(key, digest_size=16).hexdigest()
        return self._known.setdefault(short, len(self._known))

    def numbers(self, column: pa.Array) -> Int[np.ndarray, " row"]:
        """The number of every row's key; -1 where it has none."""
        if not pa.types.is_dictionary(column.type):
            try:
                column = column.dictionary_encode()
            except pa.ArrowNotImplementedError:  # lists and objects
                column = pa.array(map(_canonical, column.to_pylist()), pa.binary()).dictionary_encode()
        if column.null_count == len(column):
            return np.full(len(column), -1, np.int64)
        place = column.indices.fill_null(0).to_numpy(zero_copy_only=False)
        used = np.unique(place)
        table = np.full(int(used[-1]) + 1, -1, np.int64)
        keys = _as_bytes(column.dictionary.take(pa.array(used)))
        table[used] = [-1 if key is None else self.number(key) for key in keys]
        found = table[place]
        if column.null_count:
            found[column.is_null().to_numpy(zero_copy_only=False)] = -1
        return found

    def labels(self) -> list[str]:
        """Every key as it is shown: itself if it is short, else # and its hash."""
        return [k.decode("utf-8", "replace") if isinstance(k, bytes) else f"#{k}" for k in self._known]


def _as_bytes(keys: pa.Array) -> list[bytes | None]:
    """Keys in one form for all formats: 5, 5.0 and "5" are the same prompt."""
    if pa.types.is_integer(keys.type):
        keys = keys.cast(pa.string())
    if pa.types.is_string(keys.type) or pa.types.is_large_string(keys.type):
        keys = keys.cast(pa.binary() if pa.types.is_string(keys.type) else pa.large_binary())
    values = keys.to_pylist()
    known = pa.types.is_binary(keys.type) or pa.types.is_large_binary(keys.type)
    return values if known else [_canonical(value) for value in values]


def _canonical(key: object) -> bytes | None:
    if key is None or isinstance(key, bytes):
        return key
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    text = key if isinstance(key, str) else json.dumps(key, sort_keys=True, default=str)
    return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Rows:
    """Sound rows: ``step`` and ``prompt`` numbers, ``group`` where the dump has one, ``reward`` of a usual size;
    ``optional`` figures by role are NaN where they are missing."""

    step: Int[np.ndarray, " row"]
    prompt: Int[np.ndarray, " row"]
    group: Int[np.ndarray, " row"] | None
    reward: Float[np.ndarray, " row"]
    optional: dict[str, Float[np.ndarray, " row"]]


def clean(
    block: Block,
    layout: Layout,
    prompts: Names,
    groups: Names,
    weights: Sequence[float],
    faults: Faults,
    file: str,
) -> Rows:
    """The sound rows of a block; the others go to ``faults``, each with its first reason."""
    rows = len(block.numbers)
    bad = np.zeros(rows, bool)

    def reject(which: Bool[np.ndarray, " row"], reason: str) -> None:
        fresh = which & ~bad
        if fresh.any():
            faults.add(file, block.unit, block.numbers[fresh].tolist(), reason)
            bad[fresh] = True

    reward = _reward(block, layout, weights, reject)
    step = np.full(rows, layout.step, np.int64)
    if "step" in layout.columns:
        name = layout.columns["step"]
        value, missing, wrong = numbers(block.columns[name])
        reject(missing, f"'{name}' is missing")
        whole = np.isfinite(value) & (np.abs(value) < 2**53)
        reject(wrong | ~whole | (np.where(whole, value, 0) % 1 != 0), f"'{name}' is no whole number")
        step[~bad] = value[~bad].astype(np.int64)
    prompt = prompts.numbers(block.columns[layout.columns["prompt"]])
    reject(prompt < 0, f"'{layout.columns['prompt']}' is missing")
    group = None
    if "group" in layout.columns:
        group = groups.numbers(block.columns[layout.columns["group"]])
        reject(group < 0, f"'{layout.columns['group']}' is missing")
    optional = {}
    for role in ("advantage", "length", "logp"):
        if role in layout.columns:
            value, _, _ = numbers(block.columns[layout.columns[role]])
            value[~(np.abs(value) <= LARGEST)] = np.nan
            lacking = int(np.isnan(value[~bad]).sum())
            if lacking:
                faults.incomplete[layout.columns[role]] += lacking
            optional[role] = value
    keep = ~bad
    return Rows(
        step[keep], prompt[keep], None if group is None else group[keep], reward[keep],
        {role: value[keep] for role, value in optional.items()},
    )  # fmt: skip


def _reward(
    block: Block, layout: Layout, weights: Sequence[float], reject: Callable[[np.ndarray, str], None]
) -> np.ndarray:
    """The reward, or the weighted sum of several. Of several, those that a row lacks count nothing, as in TRL, unless
    it lacks all."""
    rows = len(block.numbers)
    total, lacking = np.zeros(rows), np.ones(rows, bool)
    for name, weight in zip(layout.rewards, weights, strict=True):
        value, missing, wrong = numbers(block.columns[name])
        if len(layout.rewards) > 1:
            missing |= np.isnan(value) & ~wrong
        reject(wrong, f"'{name}' is no number")
        reject(~missing & ~np.isfinite(value), f"'{name}' is not finite")
        with np.errstate(over="ignore", invalid="ignore"):
            total += np.where(missing | ~np.isfinite(value), 0.0, weight * value)
        lacking &= missing
    reject(
        lacking,
        f"'{layout.rewards[0]}' is missing" if len(layout.rewards) == 1 else "every reward is missing",
    )
    reject(~(np.abs(total) <= LARGEST), f"the reward is beyond {LARGEST:g}")
    return total + 0.0  # -0.0 becomes 0.0: they are equal, but not to a hash


def numbers(
    column: pa.Array,
) -> tuple[Float[np.ndarray, " row"], Bool[np.ndarray, " row"], Bool[np.ndarray, " row"]]:
    """(values, missing, wrong): what is missing or no number is NaN; text that spells a number is one."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    missing = column.is_null().to_numpy(zero_copy_only=False).copy()
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return np.array(values, np.float64), missing, np.zeros(len(column), bool)
    if pa.types.is_decimal(kind):
        column = column.cast(pa.string())
    if not (
        pa.types.is_string(column.type)
        or pa.types.is_large_string(column.type)
        or pa.types.is_binary(column.type)
    ):
        return np.full(len(column), np.nan), missing, ~missing
    return _spelt(column, missing)


def _spelt(column: pa.Array, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    plain = pc.match_substring_regex(column, _NUMBER).fill_null(False)
    text = pc.if_else(plain, column, pa.scalar(None, column.type)).cast(pa.string())
    try:
        values = pc.utf8_trim_whitespace(text).cast(pa.float64()).to_numpy(zero_copy_only=False)
        values = np.array(values, np.float64)
    except pa.ArrowInvalid:  # "+1", or beyond the largest number
        values = np.array([np.nan if t is None else float(t) for t in text.to_pylist()], np.float64)
    wrong = ~plain.to_numpy(zero_copy_only=False) & ~missing
    for place in np.flatnonzero(wrong):
        values[place], wrong[place] = _word(column[place].as_py())
    return values, missing, wrong


@functools.lru_cache(1024)
def _word(text: str | bytes) -> tuple[float, bool]:
    """A truth value, or a number in words such as "inf", as a number; (NaN, True) for anything else."""
    word = (text.decode("utf-8", "replace") if isinstance(text, bytes) else text).strip().lower()
    if word in ("true", "false"):
        return float(word == "true"), False
    if word in ("nan", "inf", "-inf", "+inf", "infinity", "-infinity"):
        return float(word), False
    return np.nan, True
