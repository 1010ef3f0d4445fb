"""``gradvar list``: the catalogue as a table."""

from gradvar.cli.streams import Screen
from gradvar.files.paths import check_file
from gradvar.report.citations import estimators
from gradvar.stats.sheet import Column, Sheet
from gradvar.studies.config import ListConfig


def run(config: ListConfig) -> int:
    """Print every named estimator; write it as JSON too if a file is given. Returns the exit code."""
    if config.json is not None:
        check_file(config.json, "json")
    rows = list(estimators().values())
    cells = []
    for row in rows:
        settings = ", ".join(f"{name}={value}" for name, value in row["settings"].items())
        cells.append((row["name"], row["summary"], row["arxiv"], settings, ", ".join(row["needs"])))
    ranks = {"name": 0, "what it is": 0, "arXiv": 0, "settings": 1, "needs": 2}
    columns = [Column(name, words=True, rank=rank) for name, rank in ranks.items()]
    Screen(wide=config.wide).show(Sheet(tuple(columns), tuple(cells), f"{len(rows)} estimators"))
    if config.json is not None:
        from gradvar.files.tables import write_json  # it loads NumPy

        write_json(config.json, rows)
    return 0
