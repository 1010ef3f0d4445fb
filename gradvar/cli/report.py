"""``gradvar report``: one HTML file of the results in a folder."""

import datetime
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gradvar.cli.streams import Screen


@dataclass(frozen=True)
class ReportPage:
    """Make one self-contained HTML file of the results in a folder: findings, plots, tables, where the numbers come
    from, and what to cite.

    Reads what measure, train, prove, check, advise and audit wrote as JSON, and figures of a score bank from a file
    {"kind": "measurement", "rows": [...]}. A file that is damaged or unknown is
    named in one line, and the others are reported all the same.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder of results (its JSON files, and those of the folders in it), or one JSON file."""
    out: Path | None = None
    """The HTML file. Default: report.html in the folder, or in that of the file."""
    title: str = ""
    """The page's title. Default: the folder's name."""
    json: Path | None = None
    """Write the findings to this file too."""


def run(config: ReportPage) -> int:
    """Write the report; the exit code."""
    from gradvar.files.paths import check_apart, check_file

    place = config.folder
    out = config.out or (place.parent if place.is_file() else place) / "report.html"
    for name, file in (("out", out), ("json", config.json)):
        if file is not None and place.exists():
            check_file(file, name)
    check_apart({"out": out, "json": config.json}, [place])
    from gradvar.files.atomic import write_file
    from gradvar.files.tables import write_json
    from gradvar.report.page import page, printable
    from gradvar.report.read import read

    sections, lines = read(place)
    is_alone = place.is_file() and len(lines) == 1
    for line in () if is_alone else lines:
        print(f"gradvar report: {printable(line)}; left out", file=sys.stderr)
    if not sections:
        reason = f" ({printable(lines[0])})" if is_alone else ""
        raise ValueError(
            f"folder: {place} holds no result{reason}; give a folder with what measure, train, prove, check or advise "
            "wrote as JSON"
        )
    title = config.title or f"Results of {place.resolve().stem if place.is_file() else place.resolve().name}"
    date = f"{datetime.datetime.now(datetime.UTC):%d %B %Y, %H:%M} UTC"
    html = page(title, sections, lines, date)
    write_file(out, lambda path: path.write_text(html, encoding="utf-8"))
    screen = Screen()
    for section in sections:
        screen.say(printable(f"{section.file}: {section.title}"))
        for finding in section.findings[:3]:
            screen.say(f"- {printable(finding)}", "  ")
    screen.say(f"Written to {out}")
    if config.json is not None:
        content = [
            {"file": s.file, "kind": s.kind, "title": s.title, "findings": [printable(f) for f in s.findings]}
            for s in sections
        ]
        write_json(config.json, {"sections": content, "left_out": lines})
    return 0
