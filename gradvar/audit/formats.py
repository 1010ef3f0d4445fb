"""The formats of rollout dumps, as ``formats.toml`` declares them."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

ROLES = ("step", "prompt", "group", "advantage", "length", "logp")


@dataclass(frozen=True)
class Format:
    """A declared format: its ``columns`` and those it must be ``without``, and the ``names`` of each role's column."""

    name: str
    columns: frozenset[str]
    without: frozenset[str]
    names: Mapping[str, tuple[str, ...]]
    every_number_is_a_reward: bool = False
    step_in_name: bool = False

    def fits(self, columns: Mapping[str, str]) -> bool:
        """Return True if a file with these columns may be of this format."""
        return self.columns <= columns.keys() and not self.without & columns.keys()


def read_formats(text: str) -> dict[str, Format]:
    """Read formats from TOML, in their order; the last one has the usual name of every role."""
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)
    usual = list(tables.values())[-1]

    def read(name: str, table: Mapping[str, Any]) -> Format:
        names = {role: tuple(table.get(role, usual[role])) for role in (*ROLES, "reward")}
        return Format(
            name,
            columns=frozenset(table.get("columns", ())),
            without=frozenset(table.get("without", ())),
            names=names,
            every_number_is_a_reward=bool(table.get("every_number_is_a_reward")),
            step_in_name=bool(table.get("step_in_name")),
        )

    return {name: read(name, table) for name, table in tables.items()}


FORMATS = read_formats((resources.files("gradvar.audit") / "formats.toml").read_text("utf-8"))
