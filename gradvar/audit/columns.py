"""Which columns of a dump hold what: named by hand, else found by the formats that are declared."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gradvar.audit.formats import FORMATS, ROLES, Format

_STEP_IN_NAME = re.compile(r"(?:completions_)?(\d{1,12})")


@dataclass(frozen=True)
class Columns:
    """Names of columns that were given by hand; empty ones are found."""

    prompt: str = ""
    reward: tuple[str, ...] = ()
    group: str = ""
    step: str = ""
    advantage: str = ""
    length: str = ""
    logp: str = ""


@dataclass(frozen=True)
class ColumnLayout:
    """Where a file's figures stand.

    ``columns`` by role (``ROLES``), the ``rewards`` that are added up, and the ``step`` of a file without a column for
    it.
    """

    format: str
    columns: Mapping[str, str]
    rewards: tuple[str, ...]
    step: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def wanted(self) -> tuple[str, ...]:
        """Every column to read, once."""
        return tuple(dict.fromkeys((*self.columns.values(), *self.rewards)))

    def __str__(self) -> str:
        named = [f"{role} '{name}'" for role, name in self.columns.items()]
        rewards = " + ".join(f"'{name}'" for name in self.rewards)
        return f"{self.format}: {', '.join(named)}, reward {rewards}"


def detect(
    kinds: Mapping[str, str],
    path: Path,
    format_name: str = "auto",
    by_hand: Columns | None = None,
    rare: frozenset[str] = frozenset(),
) -> ColumnLayout:
    """Find the layout of a file.

    Args:
        kinds: The kind of every column of the file: ``number``, ``text`` or ``other``.
        path: The file, whose name may have the step.
        format_name: A name of ``FORMATS``, or ``auto``.
        by_hand: Columns that are not to be looked for.
        rare: Columns that few rows have; they are taken only where they are named, or as one of several rewards.

    Returns:
        The layout.

    Raises:
        ValueError: A column is missing; the message names it and the flag that names it.
    """
    by_hand = by_hand or Columns()
    if format_name not in ("auto", *FORMATS):
        raise ValueError(f"format: '{format_name}'; give auto, {', '.join(FORMATS)}")
    usual = {name: kind for name, kind in kinds.items() if name not in rare}
    fitting = (f for f in FORMATS.values() if f.fits(usual))
    declared = next(fitting) if format_name == "auto" else FORMATS[format_name]
    columns: dict[str, str] = {}
    notes = []
    for role in ROLES:
        name = str(getattr(by_hand, role))
        if name and name not in kinds:
            raise ValueError(_missing(path, kinds, f"'{name}'", f"--{role}"))
        name = name or next((n for n in declared.names[role] if n in usual), "")
        if name and role in ("advantage", "length", "logp") and kinds[name] != "number":
            notes.append(f"column '{name}' holds no numbers and is left out")
        elif name:
            columns[role] = name
    if "prompt" not in columns:
        raise ValueError(_missing(path, kinds, "prompt", "--prompt"))
    rewards = by_hand.reward or _rewards(declared, kinds, usual, set(columns.values()))
    for name in rewards or ("",):
        if name not in kinds:
            raise ValueError(_missing(path, kinds, f"'{name}'" if name else "reward", "--reward"))
    match = _STEP_IN_NAME.fullmatch(path.name.split(".")[0])
    from_name = match is not None and declared.step_in_name and "step" not in columns
    step = int(match.group(1)) if match and from_name else 0
    return ColumnLayout(declared.name, columns, rewards, step, tuple(notes))


def _rewards(
    declared: Format, kinds: Mapping[str, str], usual: Mapping[str, str], taken: set[str]
) -> tuple[str, ...]:
    if not declared.every_number_is_a_reward:
        return tuple(n for n in declared.names["reward"] if n in usual)[:1]
    # All columns of a CSV may hold numbers, so the text of the rollout is left out by its name.
    numbers = [n for n, kind in kinds.items() if kind == "number" and n not in taken | declared.columns]
    numbers = [n for n in numbers if not n.startswith("__")]
    return tuple([n for n in numbers if "reward" in n.lower()] or numbers)


def _missing(path: Path, kinds: Mapping[str, str], missing: str, flag: str) -> str:
    shown = ", ".join(list(kinds)[:12]) + (", ..." if len(kinds) > 12 else "")
    return f"{path}: no column for {missing} among {shown or 'no columns'}; name it with {flag} COLUMN"
