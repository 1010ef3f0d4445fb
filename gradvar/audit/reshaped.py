"""Records that are no rollouts as they stand, made into rollouts, which the database then reads as JSON lines."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from gradvar.audit.columns import ColumnLayout
from gradvar.audit.database import LINES, Block, FilePart, Reject, literal
from gradvar.audit.malformed import NO_OBJECT, UnreadableFile
from gradvar.audit.query import Query
from gradvar.audit.record_values import value_at
from gradvar.audit.shapes import rollouts
from gradvar.audit.token_logps import TokenLogps

BLOCK = 1 << 14  # rollouts at once


class Records(Protocol):
    """A file whose records can be had one by one, with their numbers."""

    def records(self) -> Iterator[tuple[int, Any]]:
        """Every record's number, and its value, or a text that says why it has none."""
        ...


def line_query(layout: ColumnLayout, weights: Sequence[float]) -> Mapping[str, str]:
    """What ``part.sql`` leaves open, for lines of JSON objects that have the layout's names."""
    pointers = [literal("/" + n.replace("~", "~0").replace("/", "~1")) for n in layout.wanted]
    place = {name: f"fields[{i}]" for i, name in enumerate(layout.wanted, 1)}
    query = Query(
        layout, weights, lambda n: f"json_number({place[n]})", lambda n: f"json_key({place[n]})",
        "CASE WHEN fields IS NULL THEN line END",
    )  # fmt: skip
    return query.of(
        f"(SELECT *, TRY(json_extract(line, [{', '.join(pointers)}]))::VARCHAR[] AS fields FROM {LINES})"
    )


def reshaped(
    file: Records, layout: ColumnLayout, weights: Sequence[float], reject: Reject, logps: TokenLogps
) -> Iterator[FilePart]:
    """Make rollouts of records, some at a time.

    Args:
        file: The file.
        layout: Which columns hold what.
        weights: A weight for each column of rewards.
        reject: Takes records that are none of the layout's.
        logps: Takes the log-probabilities of a rollout's tokens, where both the engine's and the trainer's are there.
    """
    query, made = line_query(layout, weights), _rows(file, layout, reject, logps)
    rows: list[tuple[int, str]] = []
    damage: UnreadableFile | None = None
    while not damage:
        rows.clear()
        try:
            rows.extend(islice(made, BLOCK))
        except UnreadableFile as error:  # what stands before it has been read
            damage = error
        if rows:
            numbers, texts = zip(*rows, strict=True)
            yield FilePart(query, numbers[0], 0.5, Block(numbers, texts))
        elif not damage:
            return
    raise damage


def _rows(
    file: Records, layout: ColumnLayout, reject: Reject, logps: TokenLogps
) -> Iterator[tuple[int, str]]:
    columns = {r: n for r, n in layout.columns.items() if r not in ("sampler_logp", "trainer_logp")}
    numeric = tuple(dict.fromkeys((*layout.rewards, *layout.parts)))
    engine, trainer = (layout.columns.get(role, "") for role in ("sampler_logp", "trainer_logp"))
    chosen: Any = None  # of what several grade, the first one's records
    for number, record in file.records():
        if not isinstance(record, dict):
            reject(record if isinstance(record, str) and len(record) < 80 else NO_OBJECT, 1, [(number, None)])
            continue
        if layout.shape.first_of:
            grader = value_at(record, layout.shape.first_of)
            chosen = grader if chosen is None else chosen
            if grader != chosen:
                continue
        try:
            rows = list(rollouts(record, layout.shape, columns, numeric))
        except ValueError as error:
            reject(str(error), 1, [(number, None)])
            continue
        if engine and trainer:
            logps.add(
                value_at(record, engine), value_at(record, trainer), value_at(record, "token_loss_mask")
            )
        for row in rows:
            yield number, json.dumps(row, default=_nothing)


def _nothing(value: Any) -> None:
    """In place of what is no plain value, such as an object in a file of ``torch.save``."""
