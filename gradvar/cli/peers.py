"""``gradvar peers TRAINER...``: what the estimators of installed trainers are, and which laws they obey."""

from __future__ import annotations

import datetime
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gradvar.cli.streams import Screen
from gradvar.core import extras

if TYPE_CHECKING:
    from gradvar.testing.peers import Loaded, PeerRow


@dataclass(frozen=True)
class Peers:
    """Survey installed trainers: each registered advantage estimator and policy loss, what it is, with which settings,
    where it differs, and which laws fail.

    A trainer that is not installed, or that cannot be imported, is named in one line. Exit code 0: surveyed. 2: bad
    usage, or no trainer at all could be surveyed.
    """

    trainers: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """verl, trl, openrlhf, torchrl, tunix, skyrl, trinity, liger, swift, tinker, areal, rlax. Default: all of them."""
    kind: Literal["both", "advantage", "loss"] = "both"
    """The functions to look at."""
    examples: int = 20
    """Examples per law; 0: identify only."""
    stand_ins: bool = False
    """Import empty modules in place of packages that a trainer's import stumbles over (they are named)."""
    html: Path | None = None
    """Write the table as one HTML file."""
    csv: Path | None = None
    """Write the table to this CSV file, with the inputs and answers that confirm it."""
    markdown: Path | None = None
    """Write the table as a page of Markdown."""
    quiet: bool = False
    """No lines about progress."""


def run(config: Peers) -> int:
    """Survey, print a line for each function, write the files; the exit code."""
    if importlib.util.find_spec("hypothesis") is None:
        raise ValueError(extras.missing("hypothesis"))
    from gradvar.files.paths import check_file
    from gradvar.testing.peers import PEERS, load, survey
    from gradvar.testing.peers.catalogue import ELSEWHERE

    if config.examples < 0:
        raise ValueError(f"examples: {config.examples}; give 0 or more")
    unknown = [name for name in config.trainers if name not in PEERS and name not in ELSEWHERE]
    if unknown:
        raise ValueError(f"trainers: '{unknown[0]}' is unknown; give some of {', '.join(PEERS)}")
    for name, file in (("html", config.html), ("csv", config.csv), ("markdown", config.markdown)):
        if file is not None:
            check_file(file, name)
    chosen = config.trainers or (*PEERS, *ELSEWHERE)
    missing = [f"{name}: {ELSEWHERE[name]}" for name in chosen if name in ELSEWHERE]
    loaded, rows = [], []
    kinds = ("advantage", "loss") if config.kind == "both" else (config.kind,)
    for name in (name for name in chosen if name in PEERS):
        one = load(PEERS[name], config.stand_ins)
        if one.reason:
            missing.append(f"{name}{' ' + one.version if one.version else ''}: {one.reason}")
            continue
        loaded.append(one)
        surveyed = survey(one, examples=config.examples, kinds=kinds, progress=_said(config.quiet))
        rows += surveyed
        print(f"{one.peer.package} {one.version}")
        for row in surveyed:
            settings = f" ({row.settings})" if row.settings else ""
            ends = f"; differs: {'; '.join(row.differs)}" if row.differs else ""
            laws = f"; fails {', '.join(row.laws)}" if row.laws else ""
            Screen().say(f"  {row.kind} {row.name}{settings}: {row.identity or row.note}{ends}{laws}", "  ")
    for line in missing:
        print(f"gradvar peers: {line}", file=sys.stderr)
    if not loaded:
        return 2
    _write(config, loaded, rows, missing)
    return 0


def _said(quiet: bool) -> Callable[[str], None]:
    def progress(text: str) -> None:
        if not quiet and sys.stderr.isatty():
            print(f"  {text}", file=sys.stderr)

    return progress


def _write(config: Peers, loaded: Sequence[Loaded], rows: Sequence[PeerRow], missing: Sequence[str]) -> None:
    from gradvar.files.atomic import write_file
    from gradvar.files.tables import write_csv
    from gradvar.testing.peers import tables

    today = datetime.datetime.now(datetime.UTC)
    if config.csv is not None:
        cells = [dict(zip(tables.COLUMNS, row, strict=True)) for row in tables.csv_rows(rows)]
        write_csv(config.csv, cells or [dict.fromkeys(tables.COLUMNS, "")])
    if config.markdown is not None:
        text = tables.markdown(loaded, rows, missing, f"{today:%Y-%m-%d}")
        write_file(config.markdown, text.encode())
    if config.html is not None:
        from gradvar.report.page import page
        from gradvar.report.rosetta import sections

        date = f"{today:%d %B %Y, %H:%M} UTC"
        html = page("Rosetta table of trainers' estimators", sections(loaded, rows), missing, date)
        write_file(config.html, html.encode())
