"""Which columns of a dump hold what: named by hand, else found by the formats that are declared."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradvar.audit.counts import COUNT_ROLES, count_role
from gradvar.audit.formats import FORMATS, MORE_ROLES, ROLES, Format
from gradvar.audit.identities import (
    differs_always,
    is_of_rollouts,
    prompt_of_each,
    refuse_turns,
    repeated_identity,
)
from gradvar.audit.record_values import (
    Record,
    after_system_prompt,
    is_identity,
    is_number,
    kind_at,
    value_at,
    words_before_number,
)
from gradvar.audit.reward_columns import RewardColumns, find_rewards
from gradvar.audit.shape_search import find_shape
from gradvar.audit.shapes import Shape

OPTIONAL = ("advantage", "length", "logp")
_CHECKPOINTS = ("checkpoint", "ckpt")
_RATE = re.compile(r"(?:solve|pass|success)_(?:rate|ratio|percentage)(?:_|$)|^avg@\d+$")


@dataclass(frozen=True)
class Columns:
    """Names of columns that were given by hand; empty ones are found. ``attempts`` may be a number."""

    prompt: str = ""
    reward: tuple[str, ...] = ()
    group: str = ""
    step: str = ""
    advantage: str = ""
    length: str = ""
    logp: str = ""
    source: str = ""
    attempts: str = ""


@dataclass(frozen=True)
class ColumnLayout:
    """Where a file's figures stand.

    ``columns`` by role, the ``rewards`` that are added up, the ``step`` of a file without a column for it, and the
    ``shape`` of a record. ``parts``: columns of numbers that are shown beside the reward. ``evidence``: why it is read
    so, in words. ``step_words``: what stands before the number in the text of every step.
    """

    format: str
    columns: Mapping[str, str]
    rewards: tuple[str, ...]
    step: int = 0
    notes: tuple[str, ...] = field(default=())
    shape: Shape = field(default_factory=Shape)
    parts: tuple[str, ...] = ()
    evidence: str = ""
    step_words: str = ""

    @property
    def wanted(self) -> tuple[str, ...]:
        """Every column to read, once."""
        return tuple(dict.fromkeys((*self.columns.values(), *self.rewards, *self.parts)))

    def __str__(self) -> str:
        shown = {role: name for role, name in self.columns.items() if role in (*ROLES, "source")}
        named = [f"{role} '{name}'" for role, name in shown.items()]
        rewards = " + ".join(f"'{name}'" for name in self.rewards)
        return f"{self.format}: {', '.join(named)}, reward {rewards}{self.shape.words}"


def detect(
    kinds: Mapping[str, str],
    path: Path,
    format_name: str = "auto",
    by_hand: Columns | None = None,
    rare: frozenset[str] = frozenset(),
    sample: Sequence[Record] = (),
    formats: Mapping[str, Format] = FORMATS,
) -> ColumnLayout:
    """Find the layout of a file.

    Args:
        kinds: The kind of every column of the file: ``number``, ``text`` or ``other``.
        path: The file, whose name may have the step.
        format_name: A name of ``formats``, or ``auto``.
        by_hand: Columns that are not to be looked for.
        rare: Columns that few rows have; they are taken only where they are named, or as one of several rewards.
        sample: The first records, where they can be had.
        formats: The formats that are declared.

    Returns:
        The layout.

    Raises:
        ValueError: A column is missing; the message names it and the flag that names it.
    """
    by_hand = by_hand or Columns()
    usual = {name: kind for name, kind in kinds.items() if name not in rare}
    fitting = (f for f in formats.values() if f.fits(usual))
    declared = next(fitting) if format_name == "auto" else formats[format_name]

    def kind_of(name: str) -> str:
        """The kind of a column or of what a path leads to; empty where there is none."""
        if name in kinds:
            return kinds[name]
        known = kind_at(sample, name) if sample and ("." in name) else "null"
        return "" if known == "null" else known

    notes: list[str] = []
    columns: dict[str, str] = {}
    for role in (*ROLES, *MORE_ROLES):
        named = str(getattr(by_hand, role, ""))
        if role == "attempts" and named.isdecimal():
            named = ""
        if named and not kind_of(named):
            raise ValueError(missing_column(kinds, f"'{named}'", f"--{role}"))
        names_there = (n for n in declared.names[role] if n not in rare and kind_of(n))
        name = named or next((n for n in names_there if role != "step" or _holds_steps(n, sample)), "")
        if not name and role in COUNT_ROLES:
            counts = (n for n in usual if count_role(n) == role and n not in declared.names["rate"])
            name = next((n for n in counts if kind_of(n) == "number"), "")
        if not name and role == "rate":
            name = next((n for n in usual if _RATE.search(n)), "")
        if name:
            columns[role] = name
    if "prompt" not in columns:
        below = [top for top, kind in usual.items() if kind == "other"]
        starts = (start for top in below for start in (top, f"{top}.0"))
        paths = (f"{start}.{name}" for start in starts for name in declared.names["prompt"])
        if path_inside := next((p for p in paths if kind_of(p)), ""):
            columns["prompt"] = path_inside
    if not by_hand.prompt and "prompt" in columns:
        columns["prompt"] = after_system_prompt(columns["prompt"], sample)
    if "prompt" not in columns and (name := repeated_identity(usual, sample)):
        columns["prompt"] = name
    if "prompt" not in columns:
        raise ValueError(missing_column(kinds, "prompt", "--prompt"))
    is_found = not by_hand.prompt and not declared.columns
    if is_found and is_of_rollouts(columns["prompt"], columns.get("text", ""), sample):
        notes.append(
            f"'{columns['prompt']}' differs in every row and '{columns['text']}' does not: that is the prompt"
        )
        columns["prompt"] = columns["text"]
    group = columns.get("group", "")
    if group and not by_hand.group and differs_always(group, columns["prompt"], sample):
        notes.append(f"'{group}' differs in every row and '{columns['prompt']}' does not: it is no group")
        del columns["group"]
    if columns.get("text") == columns["prompt"] or not is_identity(columns["prompt"]):
        columns.pop("text", None)  # the prompt is its own text
    rewards = find_rewards(declared, kinds, usual, columns, by_hand.reward, sample)
    columns["prompt"] = prompt_of_each(columns["prompt"], rewards.names, sample)
    if not by_hand.reward:
        refuse_turns(kinds, columns["prompt"], sample)
    shape = find_shape(declared.shape, columns, rewards.names, sample, by_hand.attempts, declared, kinds)
    if not rewards.names and shape.kind != "counts":
        raise ValueError(missing_column(kinds, "reward", "--reward"))
    for name in rewards.names:
        if not kind_of(name):
            raise ValueError(missing_column(kinds, f"'{name}'", "--reward"))
    columns = _used(columns, shape, kind_of, notes)
    names = rewards.names or (shape.counted,)
    step = _step_of(path, declared) if "step" not in columns else 0
    step_words = _words_of_steps(columns.get("step", ""), sample)
    if step_words:
        notes.append(f"the step is the number after '{step_words}' in '{columns['step']}'")
    parts = tuple(n for n in rewards.parts if n not in columns.values() and shape.has_part(n, sample))
    return ColumnLayout(
        declared.name, columns, names, step, (*notes, *rewards.notes, *shape.notes), shape, parts[:8],
        _evidence(declared, format_name, rewards, shape), step_words,
    )  # fmt: skip


def _used(columns: dict[str, str], shape: Shape, kind_of: object, notes: list[str]) -> dict[str, str]:
    """The roles that this shape has a use for; optional ones that hold no numbers are left out, which is said."""
    used = {}
    for role, name in columns.items():
        if role in (*COUNT_ROLES, "rate", "response"):
            if shape.kind == "counts" and name in shape.names:
                used[role] = name
            continue
        if role in ("sampler_logp", "trainer_logp"):
            if {"sampler_logp", "trainer_logp"} <= columns.keys():
                used[role] = name
            continue
        number = kind_of(name) == "number"  # type: ignore[operator]
        if role in OPTIONAL and not number and not shape.has_lists(name):
            notes.append(f"column '{name}' holds no numbers and is left out")
            continue
        used[role] = name
    return used


def _holds_steps(name: str, sample: Sequence[Record]) -> bool:
    """Return False for a column of checkpoints that are texts without a number at their end, such as paths."""
    texts = [v for r in sample if isinstance(v := value_at(r, name), str) and not is_number(v)]
    return name not in _CHECKPOINTS or not any(words_before_number(text) is None for text in texts)


def _words_of_steps(name: str, sample: Sequence[Record]) -> str:
    """What stands before the number of most steps of the sample, such as global_step_; empty where they are numbers.

    Raises:
        ValueError: Different words stand there, so that one number may be two steps.
    """
    texts = [str(v) for r in sample if isinstance(v := value_at(r, name), str)] if name else []
    words = [w for w in map(words_before_number, texts) if w]
    if 2 * len(words) <= len(sample):
        return ""
    if len(set(words)) > 1:
        shown = ", ".join(f"'{w}'" for w in dict.fromkeys(words))
        raise ValueError(
            f"'{name}' has several words before its numbers ({shown}); write numbers, or audit the parts apart"
        )
    return words[0]


def _step_of(path: Path, declared: Format) -> int:
    """The step in a file's path, as the format says or, where it is not there, as any file may have it."""
    patterns = filter(None, (declared.step_in_path, FORMATS["table"].step_in_path))
    match = next(filter(None, (re.search(pattern, path.as_posix()) for pattern in patterns)), None)
    return int(match.group(1)) if match else 0


def _evidence(declared: Format, format_name: str, rewards: RewardColumns, shape: Shape) -> str:
    """Why a file is read as it is, in words."""
    found = f"has {', '.join(sorted(declared.columns))}" if declared.columns else "no trainer's columns"
    asked = format_name != "auto" and not declared.inside
    reasons = ["as asked" if asked else found, rewards.reason, shape.reason]
    return f"{declared.name} ({'; '.join(filter(None, reasons))})"


def missing_column(kinds: Mapping[str, str], missing: str, flag: str) -> str:
    """The message about a column that is not there; long names and lists are cut, what to do is not.

    Args:
        kinds: The file's columns.
        missing: What is missing.
        flag: The flag that names it.
    """
    if not kinds:
        return "no JSON object among the first lines; write one on every line, with json.dumps (JSONL)"
    names = [name if len(name) <= 40 else f"{name[:37]}..." for name in kinds]
    shown = ", ".join(names[:12]) + (", ..." if len(kinds) > 12 else "")
    hint = " (one column only: is it a CSV with a header, or JSON lines?)" if len(kinds) == 1 else ""
    return f"no column for {missing} among {shown}{hint}; name it with {flag} COLUMN"
