"""The audit: files in, figures out."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from gradvar.audit.advice import advice
from gradvar.audit.best_of import best_of
from gradvar.audit.cell_sums import CellSums
from gradvar.audit.columns import Columns
from gradvar.audit.database import QUICK, Database, shared
from gradvar.audit.estimators import advantages, compare
from gradvar.audit.findings import suspicions
from gradvar.audit.formats import formats_of
from gradvar.audit.group_sizes import curve
from gradvar.audit.larger_groups import larger_groups
from gradvar.audit.logged_advantages import written
from gradvar.audit.malformed import Faults
from gradvar.audit.mismatch import mismatch
from gradvar.audit.read import ReadSettings, expand, read_file
from gradvar.audit.result import AuditFigures
from gradvar.audit.reward_parts import parts
from gradvar.audit.schemes import scheme
from gradvar.audit.statistics import by_source, histogram, prompt_table, prompts, steps, success
from gradvar.audit.text import text
from gradvar.core.checks import finite

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
        format: auto, one of ``FORMATS``, or the path of a TOML file that declares one.
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
    if estimator is not None:
        scheme(estimator)
    if success_above is not None:
        finite("success_above", success_above)
    settings = ReadSettings(format, columns, reward_weights)
    sums, read = read_dumps(files, settings, progress)
    return _figures(sums, read, estimator, success_above)


def reward_groups(files: Iterable[str | os.PathLike[str]]) -> tuple[Float[np.ndarray, "group rollout"], str]:
    """The rewards of dumps as a table of groups, those of the most frequent size, and a sentence on how they were read.

    Raises:
        ValueError: No row at all can be used, or groups have one rollout.
    """
    sums, read = read_dumps(files, ReadSettings(), None)
    cells = sums.cells()[0]
    groups = cells.groups
    size = groups.usual_size
    if size < 2:
        raise ValueError(
            "rewards: most groups have one rollout; name the prompt's column in `gradvar audit --prompt`"
        )
    of_size = groups.size[groups.of_cell] == size  # [cell]
    table = np.repeat(cells.reward[of_size], cells.n[of_size]).reshape(-1, size)
    left = len(groups.size) - len(table)
    note = f"read as {'; '.join(read.layouts)}: {len(table)} groups of {size}"
    note += f"; {left} groups of another size are left out" if left else ""
    note += f"; {read.faults.count} malformed rows are left out" if read.faults.count else ""
    return table, note


def read_dumps(
    files: Iterable[str | os.PathLike[str]], settings: ReadSettings, progress: Progress | None
) -> tuple[CellSums, "ReadFiles"]:
    """Add up the rollouts of dumps; ``ValueError`` where a file is not there or no row at all can be used."""
    paths = expand(files)
    formats_of(settings.format)
    large = [path.resolve() for path in paths if path.stat().st_size >= QUICK]
    database = Database(large) if large else shared()
    faults, cells = Faults(), CellSums()
    layouts: Counter[str] = Counter()
    notes: dict[str, None] = {}
    evidence: dict[str, None] = {}
    for path in paths:
        report = partial(progress, str(path)) if progress else (lambda share: None)
        layout = read_file(path, settings, database, cells, faults, report)
        if layout:
            layouts[str(layout)] += 1
            notes |= dict.fromkeys(layout.notes)
            evidence[layout.evidence] = None
    if not cells.rows:
        reasons = [*faults.unread, *faults.first]
        raise ValueError(f"files: no row can be used; {reasons[0] if reasons else 'they are empty'}")
    return cells, ReadFiles(len(paths), dict(layouts), tuple(notes), tuple(evidence), faults)


@dataclass(frozen=True)
class ReadFiles:
    """How many files were read, how each, and what was wrong with them."""

    count: int
    layouts: dict[str, int]
    notes: tuple[str, ...]
    evidence: tuple[str, ...]
    faults: Faults


def _figures(sums: CellSums, read: ReadFiles, estimator: str | None, success_above: float | None) -> Audit:
    cells, labels = sums.cells()
    groups = cells.groups
    rewards = cells.rewards
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
    ambiguous = [labels[prompt] for prompt in sums.ambiguous]
    return Audit(
        read.count,
        read.layouts,
        read.notes,
        sums.rows,
        read.faults,
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
        suspicions(cells, read.faults, wrote, estimator, ambiguous, sums.copies),
        advice(cells, overall, by_prompt, sizes, estimates[0]),
        table,
        labels,
        sums.origins,
        read.evidence,
        by_source(cells, rule, [origin.source for origin in sums.origins]),
        best_of(cells, rule),
        larger_groups(cells, rule),
        parts(sums.parts),
        mismatch(sums.logps),
    )
