"""The formats of rollout dumps, as ``formats.toml`` or a file of the user's declares them."""

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from gradvar.files.reading import read_text

ROLES = ("step", "prompt", "group", "advantage", "length", "logp")
MORE_ROLES = (
    "text", "source", "successes", "failures", "attempts", "rate", "response", "sampler_logp", "trainer_logp",
)  # fmt: skip
SHAPES = ("", "rollouts", "columns", "samples", "tokens", "counts")
_LISTS = ("columns", "without", "parts", "rewards_between", "within", *ROLES, *MORE_ROLES, "reward")
_TEXTS = ("shape", "step_in_path", "rewards_in", "inside", "first_of", "read_from")


@dataclass(frozen=True)
class Format:
    """A declared format: its ``columns`` and those it must be ``without``, and the ``names`` of each role's column.

    ``shape``: what one record is; empty where the values say it. ``rewards_between``: every column of numbers between
    these two is a reward. ``rewards_in``: the column that lists the names of the rewards. ``inside``: where a record
    of the file holds a list of rollouts. ``within``: the columns that a prompt's number is unique within. ``first_of``:
    the column of which only the first value's records are read. ``values``: the numbers that words stand for.
    ``parts``: patterns of the columns that the reward is made of. ``step_in_path``: a regular expression whose group is
    the step.
    """

    name: str
    columns: frozenset[str]
    without: frozenset[str]
    names: Mapping[str, tuple[str, ...]]
    shape: str = ""
    rewards_between: tuple[str, ...] = ()
    rewards_in: str = ""
    inside: str = ""
    within: tuple[str, ...] = ()
    first_of: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    step_in_path: str = ""

    def fits(self, columns: Mapping[str, Any]) -> bool:
        """Return True if a file with these columns may be of this format."""
        return self.columns <= columns.keys() and not self.without & columns.keys()


def read_formats(text: str, usual: Format | None = None) -> dict[str, Format]:
    """Read formats from TOML, those of most columns first; names and step of ``usual`` where one has none of its own.

    Without ``usual``, the last table has them.

    Raises:
        ValueError: The text is no TOML, or a table has what no format has.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no TOML ({error}); see the page about formats") from None
    if not tables:
        raise ValueError("no table; give [name] and the names of columns, as the page about formats shows")
    for name, table in tables.items():
        _check(name, table)
    known = usual or _format("", list(tables.values())[-1], Format("", frozenset(), frozenset(), {}))
    formats = [_format(name, table, known) for name, table in tables.items()]
    order = sorted(formats, key=lambda f: -len(f.columns))
    return {f.name: f for f in order}


def _format(name: str, table: Mapping[str, Any], usual: Format) -> Format:
    roles = (*ROLES, *MORE_ROLES, "reward")
    texts = {key: table.get(key, "") for key in _TEXTS if key != "read_from"}
    texts["step_in_path"] = texts["step_in_path"] or usual.step_in_path
    return Format(
        name,
        columns=frozenset(table.get("columns", ())),
        without=frozenset(table.get("without", ())),
        names={role: tuple(table.get(role, usual.names.get(role, ()))) for role in roles},
        rewards_between=tuple(table.get("rewards_between", ())),
        values={str(word): float(number) for word, number in table.get("values", {}).items()},
        parts=tuple(table.get("parts", ())),
        within=tuple(table.get("within", ())),
        **texts,
    )


def _is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold; a whole number of TOML may have 4,000 digits."""
    return isinstance(value, int | float) and -sys.float_info.max <= value <= sys.float_info.max


def _check(name: str, table: Any) -> None:
    """Raise ``ValueError`` naming the first entry of a table that no format has."""
    if not isinstance(table, dict):
        raise ValueError(f"{name} = ... stands outside of a table; begin with [name]")
    for key, value in table.items():
        if key in _LISTS:
            sound = isinstance(value, list) and all(isinstance(x, str) for x in value)
            wanted = "a list of names"
        elif key in _TEXTS:
            sound, wanted = isinstance(value, str), "text"
        elif key == "values":
            sound = isinstance(value, dict) and all(map(_is_number, value.values()))
            wanted = "a table of numbers"
        else:
            raise ValueError(
                f"[{name}] {key}: no such entry; give some of {', '.join((*_LISTS, *_TEXTS, 'values'))}"
            )
        if not sound:
            raise ValueError(f"[{name}] {key}: {value!r}; give {wanted}")
    if table.get("shape", "") not in SHAPES:
        raise ValueError(f"[{name}] shape: '{table['shape']}'; give {', '.join(SHAPES[1:])}, or leave it out")


FORMATS = read_formats((resources.files("gradvar.audit") / "formats.toml").read_text("utf-8"))


def formats_of(name: str) -> tuple[dict[str, Format], str]:
    """The formats that a name or a file of them admits, and the name to force, or auto.

    Raises:
        ValueError: There is neither such a format nor such a file, or the file declares none.
    """
    if name.lower().endswith(".toml"):
        path = Path(name)
        if not path.exists():
            raise ValueError(f"format: no file {path}; give one as the page about formats shows")
        text = read_text(path, "format", "give a file as the page about formats shows")
        try:
            declared = read_formats(text, FORMATS["table"])
        except ValueError as error:
            raise ValueError(f"format: {path}: {error}") from None
        only = next(iter(declared)) if len(declared) == 1 else "auto"
        return {**declared, **{k: f for k, f in FORMATS.items() if k not in declared}}, only
    if name not in ("auto", *FORMATS):
        raise ValueError(f"format: '{name}'; give auto, {', '.join(FORMATS)}, or a file my.toml")
    return FORMATS, name
