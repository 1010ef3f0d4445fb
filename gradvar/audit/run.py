"""The audit: files in, figures out."""

from __future__ import annotations

import gzip
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gradvar.audit import jsonl, tables
from gradvar.audit.advice import advice
from gradvar.audit.blocks import Block, Unreadable
from gradvar.audit.clean import Names, clean
from gradvar.audit.columns import FORMATS, Columns, Layout, detect
from gradvar.audit.estimators import Advantages, Estimate, advantages, compare
from gradvar.audit.findings import Finding, suspicions
from gradvar.audit.group_sizes import Size, curve
from gradvar.audit.logged_advantages import Written, written
from gradvar.audit.malformed import Faults, one_line
from gradvar.audit.reward_counts import Cells, Tally
from gradvar.audit.schemes import Rewards, scheme
from gradvar.audit.statistics import (
    Bin,
    Prompts,
    PromptTable,
    Step,
    Success,
    histogram,
    prompt_table,
    prompts,
    steps,
    success,
)

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet", ".jsonl.gz", ".ndjson.gz", ".csv.gz")
Progress = Callable[[str, float], object]


@dataclass(frozen=True, eq=False)
class Audit:
    """What the rewards of some dumps show. ``str`` prints it; ``as_json`` has every figure.

    ``layouts``: how files were read, and how many each way. ``estimator``: the one in use, and ``source``, how that is
    known. ``table`` and ``labels``: every prompt, for ``write_prompts``.
    """

    files: int
    layouts: dict[str, int]
    notes: tuple[str, ...]
    rows: int
    faults: Faults
    rule: Success
    estimator: str
    source: str
    overall: Step
    steps: tuple[Step, ...]
    bins: tuple[Bin, ...]
    prompts: Prompts
    sizes: tuple[Size, ...]
    estimators: tuple[Estimate, ...]
    advantages: Advantages
    written: Written | None
    findings: tuple[Finding, ...]
    advice: tuple[str, ...]
    table: PromptTable
    labels: tuple[str, ...]

    @property
    def suspicious(self) -> bool:
        """Whether anything was found that a dump should not show."""
        return bool(self.findings)

    def __str__(self) -> str:
        from gradvar.audit.text import text

        return text(self)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": "audit", "files": self.files, "layouts": self.layouts, "notes": list(self.notes), "rows": self.rows,
            "malformed": self.faults.as_json(), "success": vars(self.rule),
            "estimator": self.estimator, "estimator_source": self.source,
            "overall": self.overall.as_json(), "steps": [s.as_json() for s in self.steps],
            "histogram": [{**vars(b), "share": vars(b.share)} for b in self.bins],
            "prompts": self.prompts.as_json(), "group_sizes": [s.as_json() for s in self.sizes],
            "estimators": [vars(e) for e in self.estimators], "advantages": self.advantages.as_json(),
            "written": self.written.as_json() if self.written else None,
            "findings": [vars(f) for f in self.findings], "advice": list(self.advice),
        }  # fmt: skip


def audit(
    files: Iterable[str | os.PathLike[str]],
    *,
    format: str = "auto",
    estimator: str | None = None,
    columns: Columns | None = None,
    reward_weights: Sequence[float] | None = None,
    success_above: float | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Read rollout dumps (files, or folders of them) and say what their rewards show.

    ``format``: auto or one of ``FORMATS``. ``estimator``: a name of ``schemes.SCHEMES``; default: the one whose
    advantages the dump has, else grpo. ``success_above``: what a reward must be above to be a success.
    ``progress(file, share)`` hears how far each file is.

    Raises ``ValueError``, with one line, on a file that is not there, on settings that do not fit, and where no row at
    all can be used. Rows that cannot be used are counted and named in ``faults``.
    """
    paths = expand(files)
    if format not in ("auto", *FORMATS):
        raise ValueError(f"format: '{format}'; give auto, {', '.join(FORMATS)}")
    if estimator is not None:
        scheme(estimator)
    faults, tally, names, groups = Faults(), Tally(), Names(), Names()
    layouts: Counter[str] = Counter()
    notes: dict[str, None] = {}
    for path in paths:
        try:
            with path.open("rb") as stream:
                layout, blocks = _open(stream, path, format, columns, faults)
                weights = _weights(reward_weights, layout)
                layouts[str(layout)] += 1
                notes |= dict.fromkeys(layout.notes)
                for block in blocks:
                    tally.add(clean(block, layout, names, groups, weights, faults, str(path)))
                    if progress:
                        progress(str(path), block.done)
        except Unreadable as stop:
            faults.stop(str(path), stop.place, stop.reason)
        except (_NotReadable, OSError) as error:
            faults.stop(str(path), "", one_line(error))
        if progress:
            progress(str(path), 1.0)
    if not tally.rows:
        reasons = [*faults.unread, *faults.first]
        raise ValueError(f"files: no row can be used; {reasons[0] if reasons else 'they are empty'}")
    found = tally.cells()
    return _figures(
        found, len(paths), layouts, tuple(notes), tally.rows, faults, names, estimator, success_above
    )


def _figures(
    cells: Cells, files: int, layouts: Counter[str], notes: tuple[str, ...], rows: int, faults: Faults, names: Names,
    estimator: str | None, success_above: float | None,
) -> Audit:  # fmt: skip
    groups = cells.groups
    rewards = Rewards(cells.reward, cells.n, groups.start, groups.of_cell)
    wrote = written(cells, rewards)
    used, source = estimator or "grpo", "as asked" if estimator else "assumed; name it with --estimator"
    if estimator is None and wrote and wrote.estimator:
        used, source = wrote.estimator, f"found: the advantages in the dump are those of '{wrote.formula}'"
    rule = success(cells, success_above)
    values = scheme(used)(rewards)
    labels = tuple(names.labels())
    overall = steps(cells, rule, overall=True)[0]
    table = prompt_table(cells, rule)
    by_prompt = prompts(cells, table)
    sizes = curve(rewards, groups.prompt, overall.group_size)
    estimates = compare(cells, rewards, rule, used, overall.group_size)
    return Audit(
        files, dict(layouts), notes, rows, faults, rule, used, source, overall, steps(cells, rule),
        histogram(cells, rule, values, rewards.centred), by_prompt, sizes, estimates,
        advantages(cells, values, used, labels), wrote, suspicions(cells, faults, wrote, estimator),
        advice(cells, overall, by_prompt, sizes, estimates[0]), table, labels,
    )  # fmt: skip


class _NotReadable(Exception):
    """One file among others is no dump: named, and the others are read."""


def _open(
    stream: IO[bytes], path: Path, form: str, columns: Columns | None, faults: Faults
) -> tuple[Layout, Iterator[Block]]:
    """The layout of a file and its rows; what kind of file it is, its first bytes say."""
    try:
        size = max(path.stat().st_size, 1)
        head = stream.read(4)
        stream.seek(0)
        if head == b"PAR1":
            file = tables.open_parquet(stream, str(path))
            layout = detect(tables.parquet_columns(file), path, form, columns)
            return layout, tables.read_parquet(file, layout)

        def done() -> float:
            return min(stream.tell() / size, 1.0)

        zipped = head[:2] == b"\x1f\x8b"

        def text() -> IO[bytes]:
            stream.seek(0)
            return gzip.open(stream) if zipped else stream  # type: ignore[return-value]

        if _is_json(text(), path):
            kinds = jsonl.kinds_of(text())
            coarse = {n: "number" if k in ("whole", "truth") else k for n, k in kinds.items()}
            layout = detect(coarse, path, form, columns)
            return layout, jsonl.read(text(), layout, kinds, faults, str(path), done)
        layout = detect(tables.csv_columns(text(), str(path)), path, form, columns)
        return layout, tables.read_csv(text(), layout, faults, str(path), done)
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise _NotReadable(one_line(error)) from None


def _is_json(stream: IO[bytes], path: Path) -> bool:
    """Whether a line at the beginning of the file begins with a brace. ``ValueError`` for an array of objects."""
    head = b""
    try:
        while len(head) < 1 << 16 and (more := stream.read(1 << 12)):
            head += more
    except (EOFError, zlib.error):  # broken off early, but not before its first lines
        if not head:
            raise
    lines = head.removeprefix(b"\xef\xbb\xbf").splitlines()
    starts = [line.lstrip()[:1] for line in lines if line.strip()]
    named_csv = path.name.lower().removesuffix(".gz").endswith(".csv")
    if starts[:1] == [b"["] and b"{" not in starts[1:2]:
        raise ValueError("a JSON array; write one object per line (JSONL)")
    return starts[:1] == [b"{"] or (b"{" in starts and not named_csv)


def _weights(given: Sequence[float] | None, layout: Layout) -> Sequence[float]:
    if given is None:
        return [1.0] * len(layout.rewards)
    if len(given) != len(layout.rewards):
        raise ValueError(
            f"reward_weights: {len(given)} of them for the columns {', '.join(layout.rewards)}; give one for each"
        )
    return given


def expand(files: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files as they are, and of folders the dumps in them, each once; ``ValueError`` where there is none."""
    found: list[Path] = []
    for path in map(Path, files):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.name.lower().endswith(SUFFIXES) and p.is_file())
            if not inside:
                raise ValueError(f"files: no {', '.join(SUFFIXES[:4])} in the folder {path}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise ValueError(f"files: no file {path}")
    if not found:
        raise ValueError("files: none; give files or folders of rollout dumps")
    # Twice the same file would double its groups.
    return list({path.resolve(): path for path in reversed(found)}.values())[::-1]
