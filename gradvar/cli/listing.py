"""``gradvar list``: the catalogue as a table."""

from rich.table import Table

from gradvar.cli.streams import console
from gradvar.files.paths import check_file
from gradvar.report.citations import estimators
from gradvar.studies.config import ListConfig


def run(config: ListConfig) -> int:
    """Print every named estimator; write it as JSON too if a file is given. Returns the exit code."""
    if config.json is not None:
        check_file(config.json, "json")
    rows = list(estimators().values())
    table = Table(title=f"{len(rows)} estimators", title_justify="left", pad_edge=False)
    for column in ("name", "what it is", "arXiv", "settings", "needs"):
        table.add_column(column, overflow="fold")
    for row in rows:
        settings = ", ".join(f"{name}={value}" for name, value in row["settings"].items())
        table.add_row(row["name"], row["summary"], row["arxiv"], settings, ", ".join(row["needs"]))
    console(width=140).print(table)
    if config.json is not None:
        from gradvar.files.tables import write_json  # it loads NumPy

        write_json(config.json, rows)
    return 0
