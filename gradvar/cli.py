"""The command line: parses, dispatches and turns errors into one clear line. Loads JAX only when there is work to do.

Exit codes: 0 all holds, 1 a law or claim fails, 2 bad usage or input.
"""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``gradvar`` and exit."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run ``gradvar`` with these arguments; the exit code."""
    commands = _commands()
    union: Any = None
    for name, (configuration, _) in commands.items():
        command = operator.getitem(Annotated, (configuration, tyro.conf.subcommand(name)))
        union = command if union is None else union | command
    description = (__doc__ or "").split("\n")[0]
    config: Any = tyro.cli(union, prog="gradvar", args=list(argv), description=description)
    module = next(module for configuration, module in commands.values() if isinstance(config, configuration))
    try:
        return importlib.import_module(f"gradvar.commands.{module}").run(config)
    except ValueError as error:
        print(f"gradvar: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("gradvar: interrupted", file=sys.stderr)
        return 130


def _commands() -> dict[str, tuple[type, str]]:
    """Every command's settings and the module in ``gradvar.commands`` that runs it."""
    from gradvar.commands.advise import Advise
    from gradvar.commands.check import Check
    from gradvar.commands.prove import Prove
    from gradvar.config import ListConfig, MeasureConfig

    return {
        "measure": (MeasureConfig, "measure"),
        "check": (Check, "check"),
        "prove": (Prove, "prove"),
        "advise": (Advise, "advise"),
        "list": (ListConfig, "listing"),
    }
