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

from gradvar.audit.database import Reject
from gradvar.audit.reward_counts import Cells
from gradvar.audit.reward_parts import PartSums
from gradvar.audit.token_logps import TokenLogps

KEEP = 1 << 19  # cells that may wait before they are added up
KEPT_KEY = 64  # bytes of a key that is kept whole, as in macros.sql
LABEL = 33  # characters that are shown of a longer key: # and 128 bits of its hash
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

    def add(self, part: Columns, reject: Reject, file: tuple[str, str] = ("", "row")) -> dict[str, int]:
        """Add what ``part.sql`` found.

        Args:
            part: Its columns.
            reject: Takes rows that cannot be used.
            file: The file's name, and what its rows are counted in.

        Returns:
            By role, how many rows are used but for a value that is optional.
        """
        order = np.argsort(part["first"])
        part = {name: column[order] for name, column in part.items()}
        sound = np.asarray(part["sound"], bool)
        for reason, count, examples in zip(
            *(part[c][~sound] for c in ("reason", "n", "examples")), strict=True
        ):
            reject(reason, int(count), [(e["number"], e["shown"]) for e in examples])
        cells = {name: column[sound] for name, column in part.items()}
        rows = int(cells["n"].sum())
        if rows:
            self._keep(cells, file)
            self.rows += rows
        return {role: rows - int(cells[f"{role}_n"].sum()) for role in OPTIONAL}

    def _keep(self, cells: Columns, file: tuple[str, str]) -> None:
        # A sum over no rollouts is zero; the least and the largest of none are no numbers.
        numbers = {name: np.ma.filled(cells[name], 0) for name in ("step", "reward", *_SUMS)}
        numbers |= {name: np.ma.filled(cells[name], np.nan) for name in ("low", "high")}
        known = len(self._prompts)
        numbers["prompt"] = self._prompts.of(cells["prompt"])
        self._describe(cells, numbers["prompt"], known, file)
        grouped = not np.ma.is_masked(cells["grp"])
        self._grouped.add(grouped)
        numbers["group"] = self._groups.of(cells["grp"]) if grouped else numbers["prompt"]
        self._waiting.append(numbers)
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

    def cells(self) -> tuple[Cells, tuple[str, ...]]:
        """All that was added, and the label of every prompt; ``ValueError`` if files differ in having groups."""
        if len(self._grouped) > 1:
            raise ValueError(
                "files: some have a column for the group and some have none; audit them apart, or name one with --group"
            )
        labels = tuple([key if len(key) <= KEPT_KEY else key[:LABEL] for key in self._prompts])
        return Cells(**_added_up(self._waiting), grouped=self._grouped == {True}), labels


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


def _added_up(parts: Sequence[Columns]) -> Columns:
    """The cells in order, each once: parts of a file, and files, may share some."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["reward"] = columns["reward"] + 0.0  # -0.0 becomes 0.0, as it is shown
    keys = [columns[name] for name in ("step", "group", "reward", "prompt")]
    order = np.lexsort(keys[::-1])
    fresh = np.zeros(len(order), bool)
    fresh[:1] = True
    for key in keys:
        fresh[1:] |= np.diff(key[order]) != 0
    columns = {name: column[order] for name, column in columns.items()}
    if fresh.all():
        return columns
    start, cell = np.flatnonzero(fresh), np.cumsum(fresh) - 1
    cells = {name: column[start] for name, column in columns.items()}
    for name in _SUMS:
        # In the order of the rows, so that it does not matter in which parts they came.
        sums = np.bincount(cell, columns[name])
        cells[name] = sums.astype(columns[name].dtype)
    for name, extreme in (("low", np.fmin), ("high", np.fmax)):
        cells[name] = extreme.reduceat(columns[name], start)
    return cells
