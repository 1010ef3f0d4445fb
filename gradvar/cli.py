"""The command line: parses, dispatches and turns errors into one clear line. Loads JAX only when there is work to do.

Exit codes: 0 all holds, 1 a law or claim fails, 2 bad usage or input.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gradvar.config import MeasureConfig


@dataclass(frozen=True)
class ListConfig:
    """List the estimators: name, what it is, source, settings."""

    json: Path | None = None
    """Write the list to this file too."""
    seed: int = 0
    """Accepted like everywhere; a list has nothing random."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``gradvar`` and exit."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run ``gradvar`` with these arguments; the exit code."""
    config = tyro.cli(_commands(), prog="gradvar", args=list(argv), description=__doc__.split("\n")[0])
    try:
        return _dispatch(config)
    except ValueError as error:
        print(f"gradvar: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("gradvar: interrupted", file=sys.stderr)
        return 130


def _commands() -> object:
    """The union of the subcommands' settings, as tyro reads it."""
    from gradvar.commands.advise import Advise
    from gradvar.commands.check import Check
    from gradvar.commands.prove import Prove

    return (
        Annotated[MeasureConfig, tyro.conf.subcommand("measure")]
        | Annotated[Check, tyro.conf.subcommand("check")]
        | Annotated[Prove, tyro.conf.subcommand("prove")]
        | Annotated[Advise, tyro.conf.subcommand("advise")]
        | Annotated[ListConfig, tyro.conf.subcommand("list")]
    )


def _dispatch(config: object) -> int:
    if isinstance(config, MeasureConfig):
        from gradvar.commands.measure import run as measure

        return measure(config)
    if isinstance(config, ListConfig):
        from gradvar.commands.listing import run as listing

        return listing(config.json)
    if type(config).__name__ == "Check":
        from gradvar.commands.check import run as check

        return check(config)
    if type(config).__name__ == "Advise":
        from gradvar.commands.advise import run as advise

        return advise(config)
    from gradvar.commands.prove import run as prove

    return prove(config)
