"""The Rosetta table as sections of a page: a table for each trainer, then names that mean several things."""

from __future__ import annotations

from collections.abc import Sequence

from gradvar.report.html import Table
from gradvar.report.page import Section
from gradvar.testing.peers.loading import Loaded
from gradvar.testing.peers.same_names import READ_ONLY, meanings, shared_names
from gradvar.testing.peers.survey import PeerRow

COLUMNS = (
    "name",
    "kind",
    "settings",
    "what it is",
    "where it differs",
    "laws that fail",
    "its answer",
    "the oracle's",
)


def sections(loaded: Sequence[Loaded], rows: Sequence[PeerRow]) -> list[Section]:
    """The page's parts, from the rows of a survey."""
    parts = [
        _trainer(one, [row for row in rows if row.trainer == one.peer.name])
        for one in loaded
        if one.functions
    ]
    return [*parts, _shared(rows)]


def _trainer(one: Loaded, rows: Sequence[PeerRow]) -> Section:
    named = sum(bool(row.identity) for row in rows)
    findings = [f"{named} of {len(rows)} functions are estimators that the oracle knows."]
    if one.replaced:
        findings.append(f"Imported with empty modules in place of {', '.join(one.replaced)}.")
    cells = [
        [
            row.name, row.kind, row.settings, row.identity or row.note, "; ".join(row.differs), ", ".join(row.laws),
            row.confirmation.answer if row.confirmation else "",
            row.confirmation.oracle if row.confirmation else "",
        ]
        for row in rows
    ]  # fmt: skip
    table = Table(
        "Each function, called with the trainer's defaults unless settings are given", COLUMNS, cells
    )
    return Section(f"{one.peer.package} {one.version}", "trainer", findings, tables=[table])


def _shared(rows: Sequence[PeerRow]) -> Section:
    shared = shared_names(rows)
    tables = [
        Table(
            f"{one.name} ({one.kind}); input: {one.given}",
            ("trainer", "what it is", "answer"),
            [
                [
                    ", ".join(f"{row.trainer} {row.name}" for row in members),
                    meanings(members),
                    answer,
                ]
                for answer, members in one.answers.items()
            ],
        )
        for one in shared
    ]
    read = Table("Read in the sources, not called", ("name", "meanings"), list(READ_ONLY.items()))
    findings = [f"{len(shared)} names stand for functions that answer one input differently."]
    return Section("Same name, other thing", "names", findings, tables=[*tables, read])
