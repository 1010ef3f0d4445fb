"""Which columns of a dump hold what: the formats that are known, and how a file's format is found.

Field names as the trainers write them:

- ``verl``: JSONL of ``trainer.rollout_data_dir`` and ``validation_data_dir``, one file per step, with ``input``,
  ``output``, ``score`` and ``step`` (``verl/trainer/ppo/ray_trainer.py``, ``_dump_generations``); ``score`` is the sum
  of the token-level scores.
- ``trl``: Parquet of ``GRPOTrainer`` with ``log_completions``, one file per logged step, with ``step``, ``prompt``,
  ``completion``, one column per reward function and ``advantage`` (``trl/trainer/grpo_trainer.py``, ``log``).
- ``openrlhf``: JSONL of ``openrlhf.cli.batch_inference --eval_task rm``, with ``input``, ``output`` and ``reward``. Its
  trainers write no rollouts to disk.
- ``table``: any JSONL, CSV or Parquet table with a prompt and a reward in every row, under common names or those given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FORMATS = ("verl", "trl", "openrlhf", "table")
ROLES = ("step", "prompt", "group", "advantage", "length", "logp")

COMMON: Mapping[str, tuple[str, ...]] = {
    "step": ("step", "global_step", "training_step", "iteration"),
    "prompt": (
        "prompt_id", "prompt_idx", "prompt", "problem_id", "question_id", "problem", "question", "query", "input",
    ),
    "group": ("group_id", "group", "uid", "group_idx"),
    "reward": ("reward", "rewards", "score", "total_reward"),
    "advantage": ("advantage", "advantages"),
    "length": ("length", "response_length", "completion_length", "num_tokens"),
    "logp": ("logp", "logp_sum", "logprob_sum", "sum_logprobs", "cumulative_logprob"),
}  # fmt: skip
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

    def given(self, role: str) -> str:
        """The name given for a role other than the reward; empty where none was."""
        return str(getattr(self, role))


@dataclass(frozen=True)
class Layout:
    """Where a file's figures stand: ``columns`` by role (``ROLES``), the ``rewards`` that are added up, and the step of
    a file that has no column for it."""

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
    columns: Mapping[str, str], path: Path, form: str = "auto", by_hand: Columns | None = None
) -> Layout:
    """The layout of a file with these columns, each with its kind: ``number``, ``text`` or ``other``.

    Raises ``ValueError`` naming the column that is missing and the flag that names it.
    """
    by_hand = by_hand or Columns()
    known = _format(columns) if form == "auto" else form
    if known not in FORMATS:
        raise ValueError(f"format: '{form}'; give auto, {', '.join(FORMATS)}")
    found: dict[str, str] = {}
    notes = []
    for role in ROLES:
        name = by_hand.given(role)
        if name and name not in columns:
            raise ValueError(_missing(path, columns, f"'{name}'", f"--{role}"))
        name = name or _usual(role, known, columns)
        if name and role in ("advantage", "length", "logp") and columns[name] != "number":
            notes.append(f"column '{name}' holds no numbers and is left out")
            name = ""
        if name:
            found[role] = name
    if "prompt" not in found:
        raise ValueError(_missing(path, columns, "prompt", "--prompt"))
    rewards = by_hand.reward or _rewards(known, columns, set(found.values()))
    for name in rewards:
        if name not in columns:
            raise ValueError(_missing(path, columns, f"'{name}'", "--reward"))
    if not rewards:
        raise ValueError(_missing(path, columns, "reward", "--reward"))
    step = 0
    if "step" not in found and known in ("verl", "trl"):
        match = _STEP_IN_NAME.fullmatch(path.name.split(".")[0])
        step = int(match.group(1)) if match else 0
    return Layout(known, found, tuple(rewards), step, tuple(notes))


def _format(columns: Mapping[str, str]) -> str:
    if {"input", "output", "score"} <= columns.keys():
        return "verl"
    if {"prompt", "completion"} <= columns.keys() and "prompt_id" not in columns:
        return "trl"
    if {"input", "output", "reward"} <= columns.keys():
        return "openrlhf"
    return "table"


def _usual(role: str, known: str, columns: Mapping[str, str]) -> str:
    own = {("verl", "prompt"): "input", ("openrlhf", "prompt"): "input", ("trl", "prompt"): "prompt"}
    name = own.get((known, role))
    names: Sequence[str] = (name,) if name else COMMON[role]
    return next((n for n in names if n in columns), "")


def _rewards(known: str, columns: Mapping[str, str], taken: set[str]) -> tuple[str, ...]:
    """The reward's column; of TRL all that carry "reward" in their name, else all other numbers."""
    if known == "verl":
        return ("score",)
    if known == "trl":
        numbers = [n for n, kind in columns.items() if kind == "number" and n not in taken]
        numbers = [n for n in numbers if n != "completion" and not n.startswith("__")]  # a CSV tells no kinds
        named = [n for n in numbers if "reward" in n.lower()]
        return tuple(named or numbers)
    return tuple(n for n in COMMON["reward"] if n in columns)[:1]


def _missing(path: Path, columns: Mapping[str, str], what: str, flag: str) -> str:
    shown = ", ".join(list(columns)[:12]) + (", ..." if len(columns) > 12 else "")
    return f"{path}: no column for {what} among {shown or 'no columns'}; name it with {flag} COLUMN"
