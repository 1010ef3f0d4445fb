"""Rollouts, added up by (step, group, prompt, reward) as they come.

Memory grows with the number of distinct such cells (two for a group of binary rewards, whatever its size), not with
the text that the dump holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradvar.audit.database import AddedRows, Reject
from gradvar.audit.reward_counts import Cells
from gradvar.audit.reward_parts import PartSums
from gradvar.audit.token_logps import TokenLogps

KEEP = 1 << 21  # cells that may wait before they are added up
KEPT_KEY = 64  # bytes of a key that is kept whole, as in macros.sql
LABEL = 33  # characters that are shown of a longer key: # and 128 bits of its hash
_BEYOND_CHANCE = 4  # prompts with different rewards that are the same in two files
OPTIONAL = ("advantage", "length", "logp")
_SUMS = ("n", *OPTIONAL, *(f"{role}_n" for role in OPTIONAL))
_SHOWN_TEXT = 80  # characters of a prompt that is shown
_CONTENT = re.compile(r'"content": *"((?:[^"\\]|\\.)*)')

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a prompt stands first, how its text begins, and the data ``source`` that it is of.

    ``file``, and the ``number`` of a line or a row, which ``unit`` says.
    """

    file: str
    unit: str
    number: int
    text: str
    source: str

    @property
    def place(self) -> str:
        """The place in the file, such as "line 7"."""
        return f"{self.unit} {self.number}"


class CellSums:
    """The cells of all files so far, and how many ``rows`` they are of."""

    def __init__(self) -> None:
        self.rows = 0
        self._limit = KEEP
        self._waiting: list[Columns] = []
        self._prompts, self._groups = _Numbers(), _Numbers()
        self._grouped: set[bool] = set()
        self._origins: list[Origin] = []
        self._texts: dict[int, tuple[int, int]] = {}  # the least and the greatest hash of a prompt's texts
        self.logps = TokenLogps()
        self.parts = PartSums()
        # of every file: a hash of its cells, its rows, prompts with different rewards
        self._contents: dict[str, np.ndarray] = {}

    def add(self, part: AddedRows, reject: Reject, file: tuple[str, str] = ("", "row")) -> dict[str, int]:
        """Add a part of a file.

        Args:
            part: What the database found.
            reject: Takes rows that cannot be used.
            file: The file's name, and what its rows are counted in.

        Returns:
            By role, how many rows are used but for a value that is optional.
        """
        cells = part.cells if part.prompts and "grp" not in part.cells else _in_order(part.cells)
        faults = part.faults and _in_order(part.faults)
        if part.prompts is None:
            sound = np.asarray(cells["sound"], bool)
            faults = {name: column[~sound] for name, column in cells.items()}
            cells = {name: column[sound] for name, column in cells.items()}
        if faults:
            for reason, count, examples in zip(
                *(faults[c] for c in ("reason", "n", "examples")), strict=True
            ):
                reject(reason, int(count), [(e["number"], e["shown"]) for e in examples])
        rows = int(cells["n"].sum())
        if rows:
            self._keep(cells, part.prompts, file)
            self.rows += rows
        return {role: rows - int(cells[f"{role}_n"].sum()) for role in OPTIONAL if f"{role}_n" in cells}

    def _keep(self, cells: Columns, prompts: Columns | None, file: tuple[str, str]) -> None:
        # A sum over no rollouts is zero; the least and the largest of none are no numbers.
        fills = {"step": 0, "reward": 0, **dict.fromkeys(_SUMS, 0), "low": np.nan, "high": np.nan}
        columns = {name: np.ma.filled(cells[name], fill) for name, fill in fills.items() if name in cells}
        known = len(self._prompts)
        described = prompts or cells
        numbers = self._prompts.of(described["prompt"])
        columns["prompt"] = numbers[np.ma.getdata(cells["prompt"])] if prompts else numbers
        self._describe(described, numbers, known, file)
        grouped = "grp" in cells and not np.ma.is_masked(cells["grp"])
        self._grouped.add(grouped)
        columns["group"] = self._groups.of(cells["grp"]) if grouped else columns["prompt"]
        self._contents[file[0]] = self._contents.get(file[0], np.zeros(3, np.uint64)) + _content(columns)
        self._waiting.append(columns)
        if sum(len(columns["n"]) for columns in self._waiting) > self._limit:
            self._waiting = [_added_up(self._waiting)]
            self._limit = max(KEEP, 2 * len(self._waiting[0]["n"]))

    def _describe(self, cells: Columns, prompts: np.ndarray, known: int, file: tuple[str, str]) -> None:
        """Keep where each new prompt stands first and how it begins, and which texts every prompt has."""
        fresh, first = np.unique(prompts, return_index=True)
        places = first[fresh >= known]
        sources = np.ma.filled(cells["source"][places], "")
        is_cut = np.ma.getmaskarray(cells["beginning"])[places]
        beginnings = np.where(is_cut, cells["prompt"][places], cells["beginning"][places])
        for number, text, source in zip(cells["first"][places].tolist(), beginnings, sources, strict=True):
            self._origins.append(Origin(*file, int(number), _readable(str(text)), str(source)))
        if np.ma.is_masked(cells["least_text"]) and np.ma.getmaskarray(cells["least_text"]).all():
            return
        masked = np.ma.getmaskarray(cells["least_text"])
        for prompt, low, high, none in zip(
            prompts.tolist(),
            cells["least_text"].tolist(),
            cells["greatest_text"].tolist(),
            masked,
            strict=True,
        ):
            if not none:
                least, greatest = self._texts.get(prompt, (low, high))
                self._texts[prompt] = (min(least, low), max(greatest, high))

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where each prompt stands first, and how it begins: [prompt]."""
        return tuple(self._origins)

    @property
    def ambiguous(self) -> tuple[int, ...]:
        """Prompts of one identity and several texts."""
        return tuple(prompt for prompt, (low, high) in self._texts.items() if low != high)

    @property
    def copies(self) -> tuple[tuple[str, ...], ...]:
        """Files that hold the same rollouts, where it cannot be by chance."""
        alike: dict[tuple[int, ...], list[str]] = {}
        for file, content in self._contents.items():
            if content[2] >= _BEYOND_CHANCE:
                alike.setdefault(tuple(content.tolist()), []).append(file)
        return tuple(tuple(files) for files in alike.values() if len(files) > 1)

    def cells(self) -> tuple[Cells, tuple[str, ...]]:
        """All that was added, and the label of every prompt; ``ValueError`` if files differ in having groups."""
        if len(self._grouped) > 1:
            raise ValueError(
                "files: some have a column for the group and some have none; audit them apart, or name one with --group"
            )
        labels = tuple([key if len(key) <= KEPT_KEY else key[:LABEL] for key in self._prompts])
        columns = _added_up(self._waiting)
        size = len(columns["n"])
        for role in OPTIONAL:
            columns.setdefault(role, np.zeros(size))
            columns.setdefault(f"{role}_n", np.zeros(size, np.int64))
        for name in ("low", "high"):
            columns.setdefault(name, np.full(size, np.nan))
        return Cells(**columns, grouped=self._grouped == {True}), labels


def _content(columns: Columns) -> np.ndarray:
    """A hash of some cells in any order, how many rows they are of, and how many prompts have different rewards."""
    values = (np.asarray(columns[name] + 0, float) for name in ("step", "group", "prompt", "reward"))
    total = np.zeros(len(columns["n"]), np.uint64)
    for value in values:
        total = (total ^ value.view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        total ^= total >> np.uint64(29)
    n = columns["n"].astype(np.uint64)
    times = np.bincount(columns["prompt"] - columns["prompt"].min())
    return np.array([(total * n).sum(), n.sum(), (times > 1).sum()], np.uint64)


def _readable(text: str) -> str:
    """The beginning of a prompt; of a chat, that of its last message as far as it is here."""
    messages = _CONTENT.findall(text) if text.startswith(("[", "{")) else []
    try:
        shown = str(json.loads(f'"{messages[-1]}"')) if messages else text
    except ValueError:
        shown = text
    return shown if len(shown) <= _SHOWN_TEXT else f"{shown[:_SHOWN_TEXT]}..."


class _Numbers(dict[str, int]):
    """Numbers of keys in the order in which they were first asked for."""

    def __missing__(self, key: str) -> int:
        self[key] = number = len(self)
        return number

    def of(self, keys: np.ndarray) -> np.ndarray:
        """The number of each key; keys that are new get the next ones."""
        # A masked array takes microseconds an entry to go through, a list none.
        return np.fromiter(map(self.__getitem__, np.ma.getdata(keys).tolist()), np.int64, len(keys))


def _in_order(part: Columns) -> Columns:
    """The same in the order of the rows."""
    order = np.argsort(part["first"])
    return {name: column[order] for name, column in part.items()}


def _added_up(parts: Sequence[Columns]) -> Columns:
    """The cells in order, each once: parts of a file, and files, may share some."""
    names = dict.fromkeys(name for part in parts for name in part)
    columns = {name: np.concatenate([_column(part, name) for part in parts]) for name in names}
    columns["reward"] = columns["reward"] + 0.0  # -0.0 becomes 0.0, as it is shown
    if np.array_equal(columns["group"], columns["prompt"]):  # one array is put in order for both
        columns["group"] = columns["prompt"]
    order, fresh = _sorted(columns)
    ordered = {id(column): column[order] for column in {id(c): c for c in columns.values()}.values()}
    columns = {name: ordered[id(column)] for name, column in columns.items()}
    if fresh.all():
        return columns
    start, cell = np.flatnonzero(fresh), np.cumsum(fresh) - 1
    cells = {name: column[start] for name, column in columns.items()}
    for name in (n for n in _SUMS if n in columns):
        # In the order of the rows, so that it does not matter in which parts they came.
        sums = np.bincount(cell, columns[name])
        cells[name] = sums.astype(columns[name].dtype)
    for name, extreme in (("low", np.fmin), ("high", np.fmax)):
        if name in columns:
            cells[name] = extreme.reduceat(columns[name], start)
    return cells


def _column(part: Columns, name: str) -> np.ndarray:
    """A column, of zeros or of no numbers where a part has none."""
    return part[name] if name in part else np.full(len(part["n"]), np.nan if name in ("low", "high") else 0.0)


def _sorted(columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """The order of the cells by step, group, reward and prompt, and which of them, in that order, are the first alike.

    The four, and the cell's place, are one whole number for each cell, where that is not too large: to sort numbers
    takes a fraction of the time of sorting places by them.
    """
    names = ("step", "group", "reward", "prompt")
    ranks, number = np.zeros(len(columns["n"]), np.int64), 1
    for name in names[:3] if columns["group"] is columns["prompt"] else names:
        rank, count = _ranks(columns[name])
        number *= count
        if number > 1 << 62:
            break
        ranks = ranks * count + rank
    fresh = np.ones(len(ranks), bool)
    bits = len(ranks).bit_length()
    if number <= 1 << 62 - bits:
        ordered = np.sort(ranks << bits | np.arange(len(ranks)))
        fresh[1:] = np.diff(ordered >> bits) != 0
        return ordered & (1 << bits) - 1, fresh
    keys = [ranks] if number <= 1 << 62 else [columns[name] for name in names]
    order = np.lexsort(keys[::-1])
    fresh[1:] = np.any([np.diff(key[order]) != 0 for key in keys], axis=0)
    return order, fresh


def _ranks(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Whole numbers from zero in the order of the values, and how many there are at most."""
    low, high = values.min(), values.max()
    if values.dtype.kind != "f":
        return values - int(low), int(high) - int(low) + 1
    is_high = values == high
    if (is_high | (values == low)).all():
        return is_high.astype(np.int64), 2
    levels = np.unique(values)
    return np.searchsorted(levels, values), len(levels)
