"""The command line: parses, dispatches and turns errors into one clear line. Loads JAX only when there is work to do.

Exit codes: 0 all holds, 1 a law or claim fails, 2 bad usage or input.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import operator
import os
import re
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
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            config: Any = tyro.cli(union, prog="gradvar", args=list(argv), description=description)
    except SystemExit as stop:
        if stop.code:
            print(f"gradvar: error: {_one_line(said.getvalue())}", file=sys.stderr)
        raise
    module = next(module for configuration, module in commands.values() if isinstance(config, configuration))
    try:
        code: int = importlib.import_module(f"gradvar.cli.{module}").run(config)
        sys.stdout.flush()  # here, where a closed pipe is heard of
        return code
    except ValueError as error:
        print(f"gradvar: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read has read enough, as `head` does; nothing more is to be flushed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("gradvar: interrupted", file=sys.stderr)
        return 130


def _one_line(box: str) -> str:
    """What is wrong with the arguments, out of the parser's box: title, rule, text, rule, where help is."""
    bare = [line.strip(" │╭╮╰╯") for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    lines = [line for line in bare if line]
    rules = [i for i, line in enumerate(lines) if set(line) <= set("─-")]
    begin = rules[0] + 1 if rules and rules[0] <= 1 else 1  # the title may stand in the frame itself
    end = next((i for i in rules if i >= begin), len(lines))
    found = re.search(r"gradvar[ a-z]* --help", " ".join(lines))
    return f"{' '.join(lines[begin:end]).rstrip('.')}; see {found.group() if found else 'gradvar --help'}"


def _commands() -> dict[str, tuple[type, str]]:
    """Every command's settings and the module in ``gradvar.cli`` that runs it."""
    from gradvar.cli.advise import Advise
    from gradvar.cli.audit import AuditConfig
    from gradvar.cli.check import Check
    from gradvar.cli.cite import Cite
    from gradvar.cli.prove import Prove
    from gradvar.cli.record import Record
    from gradvar.cli.report import Report
    from gradvar.studies.config import ListConfig, MeasureConfig
    from gradvar.train.plan import TrainConfig

    return {
        "measure": (MeasureConfig, "measure"),
        "check": (Check, "check"),
        "prove": (Prove, "prove"),
        "advise": (Advise, "advise"),
        "record": (Record, "record"),
        "audit": (AuditConfig, "audit"),
        "train": (TrainConfig, "train"),
        "report": (Report, "report"),
        "list": (ListConfig, "listing"),
        "cite": (Cite, "cite"),
    }
