"""The audit: files in, figures out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gradvar.audit.advice import advice
from gradvar.audit.columns import Columns
from gradvar.audit.database import CellDatabase
from gradvar.audit.estimators import Advantages, Estimate, advantages, compare
from gradvar.audit.findings import Finding, suspicions
from gradvar.audit.formats import FORMATS
from gradvar.audit.group_sizes import Size, curve
from gradvar.audit.logged_advantages import Written, written
from gradvar.audit.malformed import Faults
from gradvar.audit.read import ReadSettings, expand, is_parquet, read_file
from gradvar.audit.reward_counts import Cells
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
    """Read rollout dumps and show what their rewards say.

    Args:
        files: Dumps, or folders of them.
        format: auto, or one of ``FORMATS``.
        estimator: A name of ``SCHEMES``; by default the one whose advantages the dump has, else grpo.
        columns: Names of columns that are not to be looked for.
        reward_weights: One for each column of rewards; by default 1.
        success_above: What a reward must be above to be a success.
        progress: Called with a file's name and the share of it that has been read.

    Returns:
        The audit. Rows that cannot be used are counted and named in its ``faults``.

    Raises:
        ValueError: A file is not there, settings do not fit, or no row at all can be used.
    """
    paths = expand(files)
    if format not in ("auto", *FORMATS):
        raise ValueError(f"format: '{format}'; give auto, {', '.join(FORMATS)}")
    if estimator is not None:
        scheme(estimator)
    faults, cells = Faults(), CellDatabase([p.resolve() for p in paths if is_parquet(p)])
    layouts: Counter[str] = Counter()
    notes: dict[str, None] = {}
    settings = ReadSettings(format, columns, reward_weights)
    for path in paths:
        cells.begin_file()
        report = partial(progress, str(path)) if progress else (lambda share: None)
        layout = read_file(path, settings, cells, faults, report)
        if layout:
            layouts[str(layout)] += 1
            notes |= dict.fromkeys(layout.notes)
    if not cells.rows:
        reasons = [*faults.unread, *faults.first]
        raise ValueError(f"files: no row can be used; {reasons[0] if reasons else 'they are empty'}")
    counted, labels = cells.cells()
    return _figures(
        counted, len(paths), layouts, tuple(notes), cells.rows, faults, labels, estimator, success_above
    )


def _figures(
    cells: Cells, files: int, layouts: Counter[str], notes: tuple[str, ...], rows: int, faults: Faults,
    labels: tuple[str, ...], estimator: str | None, success_above: float | None,
) -> Audit:  # fmt: skip
    groups = cells.groups
    rewards = Rewards(cells.reward, cells.n, groups.start, groups.of_cell)
    wrote = written(cells, rewards)
    used, source = estimator or "grpo", "as asked" if estimator else "assumed; name it with --estimator"
    if estimator is None and wrote and wrote.estimator:
        used, source = wrote.estimator, f"found: the advantages in the dump are those of '{wrote.formula}'"
    rule = success(cells, success_above)
    values = scheme(used)(rewards)
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
