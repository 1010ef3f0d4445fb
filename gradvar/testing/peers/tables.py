"""The Rosetta table as rows of text (for CSV) and as a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradvar.testing.peers.loading import Loaded
from gradvar.testing.peers.same_names import READ_ONLY, meanings, shared_names
from gradvar.testing.peers.survey import PeerRow

COLUMNS = (
    "trainer", "version", "kind", "name", "settings", "what it is", "where it differs", "laws that fail", "traits",
    "note", "place", "input", "its answer", "the oracle's answer", "equal",
)  # fmt: skip


def csv_rows(rows: Iterable[PeerRow]) -> list[tuple[str, ...]]:
    """The cells of each row, in the order of ``COLUMNS``."""
    return [_cells(row) for row in rows]


def _cells(row: PeerRow) -> tuple[str, ...]:
    seen = row.confirmation
    return (
        row.trainer, row.version, row.kind, row.name, row.settings, row.identity, "; ".join(row.differs),
        "; ".join(f"{law}: {why}" for law, why in row.laws.items()), ", ".join(row.traits), row.note, row.place,
        seen.given if seen else "", seen.answer if seen else "", seen.oracle if seen else "",
        "" if seen is None or not seen.oracle else ("yes" if seen.equal else "no"),
    )  # fmt: skip


def markdown(loaded: Sequence[Loaded], rows: Sequence[PeerRow], missing: Sequence[str], day: str) -> str:
    """The page of the table: each trainer's functions, names that several share, confirmations.

    Args:
        loaded: The trainers.
        rows: Their functions.
        missing: A line for each trainer that is not in it.
        day: When it was made.
    """
    versions = [f"{one.peer.package} {one.version}" for one in loaded if not one.reason]
    lines = [
        "# The Rosetta table: what trainers' estimators are",
        "",
        f"Made by `gradvar peers` on {day} with {', '.join(versions)}.",
        "Every line was found by calling the installed function on random rollouts and comparing it with this",
        "project's definitions; nothing is taken from names or documentation. Settings are the trainer's defaults",
        'unless given. "Where it differs" names the inputs on which the answer is another than the definition\'s,',
        'and "laws that fail" the kit\'s universal laws with a counterexample. Neither says that a trainer is',
        "wrong. A failure may be meant (kl-cov's penalty pulls against the advantage and is chosen over the whole",
        "batch; a batch with one token is refused with a message), and whether it does harm depends on what its",
        "trainer guarantees about the input: most never pass a NaN or a group of one. What stands in brackets",
        "after a line was read in the source.",
        "The numbers behind each line are in `benchmarks/results/rosetta.csv`;",
        "[an adapter](howto/write_an_adapter.md) puts your function on the list.",
        "",
    ]
    for one in loaded:
        if one.replaced:
            lines += [
                f"{one.peer.package} was imported with empty modules in place of {', '.join(one.replaced)}, which the "
                "functions below do not call.",
                "",
            ]
    if missing:
        lines += ["Not in the table:", "", *(f"- {line}" for line in missing), ""]
    for one in loaded:
        mine = [row for row in rows if row.trainer == one.peer.name]
        if mine:
            lines += [f"## {one.peer.package} {one.version}", "", *_table(mine), ""]
    return "\n".join([*lines, *_shared(rows), *_confirmations(rows)])


def _table(rows: Iterable[PeerRow]) -> list[str]:
    lines = [
        "| name | settings | what it is | where it differs | laws that fail |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        what = row.identity or row.note
        note = f" ({row.note})" if row.identity and row.note else ""
        laws = ", ".join(row.laws)
        cells = (f"{row.kind} `{row.name}`", row.settings, what + note, "; ".join(row.differs), laws)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return lines


def _shared(rows: Sequence[PeerRow]) -> list[str]:
    lines = [
        "## Same name, other thing",
        "",
        "Functions that trainers call alike, with their defaults, and that answer one input differently. A loss is",
        "shown by the weights of its tokens (the derivative of the objective).",
        "",
    ]
    for shared in shared_names(rows):
        lines += [f"### {shared.name} ({shared.kind})", "", f"Input: {shared.given}.", ""]
        lines += ["| trainer | what it is | answer |", "|---|---|---|"]
        for answer, members in shared.answers.items():
            names = ", ".join(f"{row.trainer} `{row.name}`" for row in members)
            what = meanings(members)
            lines.append(f"| {names} | {_cell(what)} | {_cell(answer)} |")
        lines.append("")
    lines += [
        "### Read in the sources, not called",
        "",
        *(f"- **{name}**: {text}" for name, text in READ_ONLY.items()),
        "",
    ]
    return lines


def _confirmations(rows: Sequence[PeerRow]) -> list[str]:
    """Each function's answer to a stated input beside the oracle's."""
    lines = ["## Both called on one input", ""]
    for kind in ("advantage", "loss"):
        mine = [row for row in rows if row.kind == kind and row.confirmation is not None]
        if not mine:
            continue
        given = next(row.confirmation.given for row in mine if row.confirmation)
        lines += [f"Each {kind}: {given}.", "", "| function | its answer | the oracle's |", "|---|---|---|"]
        for row in mine:
            seen = row.confirmation
            if seen is not None:
                other = ("the same" if seen.equal else seen.oracle) if seen.oracle else "none"
                settings = f" ({row.settings})" if row.settings else ""
                lines.append(f"| {row.trainer} `{row.name}`{_cell(settings)} | {seen.answer} | {other} |")
        lines.append("")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
