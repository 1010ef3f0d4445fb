"""``gradvar list``: the catalogue, and the words for samplers and corrections, as tables; the schema of results."""

import json
from importlib.resources import files
from typing import Any

from gradvar.cli.streams import Screen
from gradvar.core.spelling_meanings import correction_rows, engine_rows
from gradvar.files.paths import check_file
from gradvar.report.citations import estimators
from gradvar.stats.sheet import Column, Sheet
from gradvar.studies.config import ListConfig


def run(config: ListConfig) -> int:
    """Print what is asked for; write it as JSON too if a file is given. Returns the exit code."""
    if config.json is not None:
        check_file(config.json, "json")
    if config.what == "schema":
        text = (files("gradvar.files") / "results.schema.json").read_text(encoding="utf-8")
        print(text, end="")
        return _write(config, json.loads(text))
    if config.what != "estimators":
        words = engine_rows() if config.what == "samplers" else correction_rows()
        columns = [Column(name, words=True) for name in words[0]]
        sheet = Sheet(
            tuple(columns), tuple(tuple(row.values()) for row in words), f"{len(words)} {config.what}"
        )
        return _show(config, sheet, words)
    rows = list(estimators().values())
    cells = []
    for row in rows:
        settings = ", ".join(f"{name}={value}" for name, value in row["settings"].items())
        summary = row["summary"].replace("``", "").removesuffix(".")
        cells.append((row["name"], summary, row["arxiv"], settings, ", ".join(row["needs"])))
    ranks = {"name": 0, "what it is": 0, "paper": 0, "settings": 1, "needs": 2}
    columns = [Column(name, words=True, rank=rank) for name, rank in ranks.items()]
    return _show(config, Sheet(tuple(columns), tuple(cells), f"{len(rows)} estimators"), rows)


def _show(config: ListConfig, sheet: Sheet, rows: list[Any]) -> int:
    Screen(wide=config.wide).show(sheet)
    return _write(config, rows)


def _write(config: ListConfig, content: Any) -> int:
    if config.json is not None:
        from gradvar.files.tables import write_json  # it loads NumPy

        write_json(config.json, content)
    return 0
