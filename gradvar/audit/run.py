"""The audit: files in, figures out."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from gradvar.audit.advice import advice
from gradvar.audit.cell_sums import CellSums
from gradvar.audit.columns import Columns
from gradvar.audit.database import QUICK, Database, shared
from gradvar.audit.estimators import advantages, compare
from gradvar.audit.findings import suspicions
from gradvar.audit.formats import FORMATS
from gradvar.audit.group_sizes import curve
from gradvar.audit.logged_advantages import written
from gradvar.audit.malformed import Faults
from gradvar.audit.read import ReadSettings, expand, read_file
from gradvar.audit.result import AuditFigures
from gradvar.audit.reward_counts import Cells
from gradvar.audit.schemes import Rewards, scheme
from gradvar.audit.statistics import histogram, prompt_table, prompts, steps, success
from gradvar.audit.text import text

Progress = Callable[[str, float], object]


@dataclass(frozen=True, eq=False)
class Audit(AuditFigures):
    """The figures of some dumps, which ``str`` shows as text."""

    def __str__(self) -> str:
        return text(self)


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
    large = [path.resolve() for path in paths if path.stat().st_size >= QUICK]
    database = Database(large) if large else shared()
    faults, cells = Faults(), CellSums()
    layouts: Counter[str] = Counter()
    notes: dict[str, None] = {}
    settings = ReadSettings(format, columns, reward_weights)
    for path in paths:
        report = partial(progress, str(path)) if progress else (lambda share: None)
        layout = read_file(path, settings, database, cells, faults, report)
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
    cells: Cells,
    files: int,
    layouts: Counter[str],
    notes: tuple[str, ...],
    rows: int,
    faults: Faults,
    labels: tuple[str, ...],
    estimator: str | None,
    success_above: float | None,
) -> Audit:
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
        files,
        dict(layouts),
        notes,
        rows,
        faults,
        rule,
        used,
        source,
        overall,
        steps(cells, rule),
        histogram(cells, rule, values, rewards.centred),
        by_prompt,
        sizes,
        estimates,
        advantages(cells, values, used, labels),
        wrote,
        suspicions(cells, faults, wrote, estimator),
        advice(cells, overall, by_prompt, sizes, estimates[0]),
        table,
        labels,
    )
