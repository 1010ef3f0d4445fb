"""What can be asked about engines and corrections: plain typed settings, checked before any work. Imports no JAX."""

from dataclasses import dataclass
from pathlib import Path

from gradvar.core.spelling import read_sampler
from gradvar.studies.config import MeasureConfig, PolicyName, Precision, TaskName


@dataclass(frozen=True)
class MismatchConfig:
    """Measure what each correction costs, engine by engine: the bias and the variance of the gradient's direction."""

    policy: PolicyName = "tabular"
    """bandit and tabular are enumerated; transformer is warm-started on a verifiable task."""
    task: TaskName = "auto"
    """binary or graded (for bandit and tabular); addition, sorting or partial (for transformer)."""
    estimator: str = "dr_grpo"
    """A name from `gradvar list`, or your own as path/to/file.py:name."""
    samplers: tuple[str, ...] = ("none", "noise:0.1", "noise:0.3", "noise:1")
    """The engines, spelt as in `gradvar measure`: none, stale:STEPS, top_p:P, bfloat16, fp8 and so on."""
    corrections: tuple[str, ...] = ("none", "tis:2", "mis", "icepop", "seq_tis", "seq_mask", "seq_ratio")
    """The corrections, spelt as in `gradvar measure`."""
    group_size: int = 4
    """Rollouts of one prompt."""
    prompts: int = 16
    """Prompts of a batch."""
    staleness: int = 0
    """Optimiser steps between the trainer's proximal policy and the one that is differentiated."""
    replicates: int = 512
    """Monte Carlo batches per engine, where enumeration is out of reach."""
    success: float = 0.4
    """Success rate to which the transformer is warm-started."""
    seed: int = 0
    """Seed of everything random."""
    precision: Precision = "float32"
    """Of the transformer; enumeration is always in float64."""
    out: Path = Path("gradvar-mismatch")
    """Folder for the table (CSV), the JSON with provenance, and the plot."""
    json: Path | None = None
    """Also write the JSON to this file."""
    wide: bool = False
    """A table with all its columns, however wide the terminal is."""
    quiet: bool = False
    """No progress bars."""

    def check(self) -> None:
        """Raise ``ValueError`` with one clear line on settings that cannot be met, before any work starts."""
        if not self.samplers:
            raise ValueError("samplers: nothing given; name at least one")
        if len(set(self.samplers)) != len(self.samplers):
            raise ValueError(f"samplers: {', '.join(self.samplers)} names something twice; give each once")
        for text in self.samplers:
            read_sampler(text, "samplers")
        self.measured().check()

    @property
    def estimator_name(self) -> str:
        """The estimator's name: of one in a file, the function's."""
        text = getattr(self.estimator, "name", self.estimator)
        return str(text).rpartition(":")[2]

    def measured(self) -> MeasureConfig:
        """The same settings as those of a measurement, with every staleness that an engine asks for."""
        ages = {read_sampler(text, "samplers").steps for text in self.samplers}
        return MeasureConfig(
            policies=(self.policy,),
            task=self.task,
            estimators=(self.estimator,),
            group_sizes=(self.group_size,),
            staleness=tuple(sorted({age + late for age in ages for late in (0, self.staleness)})),
            corrections=self.corrections,
            budget="prompts",
            prompts=self.prompts,
            replicates=self.replicates,
            success=self.success,
            seed=self.seed,
            precision=self.precision,
            out=self.out,
            json=self.json,
        )
