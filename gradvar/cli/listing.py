"""``gradvar list``: the catalogue as a table."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from gradvar.studies.config import ListConfig


def run(config: ListConfig) -> int:
    """Print every named estimator; write it as JSON too where a file is given. Returns the exit code."""
    from gradvar import catalogue
    from gradvar.files.tables import write_json
    from gradvar.studies.config import check_file

    if config.json is not None:
        check_file(config.json, "json")
    entries = catalogue.entries()
    table = Table(title=f"{len(entries)} estimators", title_justify="left", pad_edge=False)
    for column in ("name", "what it is", "arXiv", "settings", "needs"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        settings = ", ".join(f"{k}={v}" for k, v in entry.settings.items())
        table.add_row(entry.name, entry.summary, entry.paper.arxiv, settings, ", ".join(entry.needs))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    if config.json is not None:
        fields = [
            {
                "name": e.name, "summary": e.summary, "title": e.paper.title, "arxiv": e.paper.arxiv,
                "equation": e.paper.equation, "settings": dict(e.settings), "needs": list(e.needs),
                "min_group": e.min_group,
            }
            for e in entries
        ]  # fmt: skip
        write_json(config.json, fields)
    return 0
