"""The figures of an audit."""

from dataclasses import dataclass, field
from typing import Any

from gradvar.audit.best_of import BestOf
from gradvar.audit.cell_sums import Origin
from gradvar.audit.estimators import Advantages, EstimatorFigures
from gradvar.audit.findings import Suspicion
from gradvar.audit.group_sizes import Size
from gradvar.audit.logged_advantages import Written
from gradvar.audit.malformed import Faults
from gradvar.audit.mismatch import EngineFigures
from gradvar.audit.reward_parts import Parts
from gradvar.audit.statistics import Bin, Prompts, PromptTable, Step, Success
from gradvar.files.tables import to_plain
from gradvar.stats.intervals import Interval

NOTHING_SUSPICIOUS = "Nothing suspicious in how rollouts are grouped and rewarded."


@dataclass(frozen=True, eq=False)
class AuditFigures:
    """The figures of some dumps; ``as_json`` has every one.

    ``layouts``: how files were read, and how many each way. ``estimator``: the one in use, and ``source``, how that is
    known. ``table``, ``labels`` and ``origins``: every prompt, for ``write_prompts``. ``evidence``: why files
    were read as they were. ``sources``: the figures of each data source; ``best_of``: pass@k and max@k; ``larger``:
    informative groups at sizes beyond the recorded; ``parts`` of the reward; ``mismatch`` of engine and trainer.
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
    estimators: tuple[EstimatorFigures, ...]
    advantages: Advantages
    written: Written | None
    suspicions: tuple[Suspicion, ...]
    advice: tuple[str, ...]
    table: PromptTable
    labels: tuple[str, ...]
    origins: tuple[Origin, ...] = ()
    evidence: tuple[str, ...] = ()
    sources: dict[str, Step] = field(default_factory=dict)
    best_of: tuple[BestOf, ...] = ()
    larger: tuple[tuple[int, Interval], ...] = ()
    parts: Parts = field(default_factory=Parts)
    mismatch: EngineFigures | None = None

    @property
    def suspicious(self) -> bool:
        """Return True if the dump shows what it should not."""
        return bool(self.suspicions)

    def findings(self) -> list[str]:
        """Return what is suspicious, what follows from the figures, and how files were read, in sentences."""
        suspicions = [f"Suspicious: {s.sentence}" for s in self.suspicions]
        questions = [f"Question: {q}" for q in self.parts.questions]
        return [*(suspicions or [NOTHING_SUSPICIOUS]), *self.advice, *questions, *self.notes]

    def as_json(self) -> dict[str, Any]:
        """Return every figure but the list of prompts, as values that JSON knows."""

        def step(figures: Step) -> dict[str, Any]:
            return {**vars(figures), "refill": figures.refill}

        content = {
            "kind": "audit",
            "findings": self.findings(),
            "files": self.files,
            "layouts": self.layouts,
            "evidence": self.evidence,
            "notes": self.notes,
            "rows": self.rows,
            "malformed": self.faults,
            "success": self.rule,
            "estimator": self.estimator,
            "estimator_source": self.source,
            "overall": step(self.overall),
            "steps": [step(s) for s in self.steps],
            "histogram": self.bins,
            "sources": {name: step(s) for name, s in self.sources.items()},
            "prompts": self.prompts,
            "best_of": self.best_of,
            "larger_groups": [{"group_size": size, "informative": share} for size, share in self.larger],
            "parts": self.parts,
            "mismatch": self.mismatch,
            "group_sizes": self.sizes,
            "estimators": self.estimators,
            "advantages": self.advantages,
            "written": self.written,
            "suspicions": self.suspicions,
            "advice": self.advice,
        }
        return dict(to_plain(content))
