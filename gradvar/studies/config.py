"""What can be asked of a measurement: plain typed settings, checked before any work starts. Imports no JAX."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gradvar.core.spelling import SamplerWord, read_correction, read_sampler
from gradvar.files.paths import check_file, check_writable

if TYPE_CHECKING:
    from gradvar.core.until import Until

PolicyName = Literal["bandit", "tabular", "transformer"]
TaskName = Literal["auto", "binary", "graded", "addition", "sorting", "partial"]
Budget = Literal["rollouts", "prompts"]
Precision = Literal["float32", "float64"]

_REPLICATES = 96
TASKS: dict[str, tuple[str, ...]] = {
    "bandit": ("binary", "graded"),
    "tabular": ("binary", "graded"),
    "transformer": ("addition", "sorting", "partial"),
}


@dataclass(frozen=True)
class MeasureConfig:
    """Measure what estimators estimate and how noisy they are, on policies of which the answer is known or learnt."""

    policies: tuple[PolicyName, ...] = ("tabular", "transformer")
    """Where to measure: bandit and tabular can be enumerated; transformer is warm-started on a verifiable task."""
    task: TaskName = "auto"
    """binary or graded (random rewards, for bandit and tabular); addition, sorting or partial (for transformer)."""
    estimators: tuple[str, ...] = ("rloo", "dr_grpo", "grpo", "maxrl", "dapo")
    """Names from `gradvar list`, or your own as path/to/file.py:name: an objective(logp, batch), an advantage(rewards)
    or an `Estimator`."""
    group_sizes: tuple[int, ...] = (2, 4, 16)
    """Rollouts of one prompt."""
    staleness: tuple[int, ...] = (0, 4)
    """Optimiser steps between the policy that samples and the one that is differentiated; 0 is on policy."""
    sampler: str = "none"
    """The engine that samples: none (the policy itself), stale:STEPS, temperature:T, top_k:K, top_p:P, min_p:P,
    noise:SIZE, bfloat16, fp8, fp8_channel, int8, int8_channel or template:TOKEN; :raw behind a change of tokens reports
    the unchanged log-probabilities. `gradvar list --what samplers` explains them."""
    corrections: tuple[str, ...] = ("none",)
    """A row of each estimator for each: none, ratio, tis:CAP, mis:CAP, icepop:LOW:HIGH, seq_ratio, seq_tis:CAP,
    seq_mask:CAP, geo_mask:LOW:HIGH, opsm:NATS, k1_mean:LOW:HIGH, k3_token:MOST, vespo, dppo_tv:MOST and so on; + joins
    two. `gradvar list --what corrections` explains them all."""
    clip: tuple[float, ...] = ()
    """Clip ranges to sweep, below and above 1, for the estimators that clip; none given: each estimator's own."""
    budget: Budget = "rollouts"
    """What is held fixed over group sizes: rollouts per batch, or prompts per batch."""
    rollouts: int = 64
    """Rollouts per batch, when budget is rollouts."""
    prompts: int = 8
    """Prompts per batch, when budget is prompts."""
    replicates: int | None = None
    """Monte Carlo batches per setting, where enumeration is out of reach; 96 unless a precision is asked for."""
    until: tuple[str, ...] = ()
    """Instead of replicates, FIGURE:SHARE, such as trace_cov:0.05 snr:0.1: batches are added until half of the figure's
    95 % interval is at most this share of it, in every setting."""
    most: int = 1 << 16
    """Batches per setting at which to stop anyway."""
    success: float = 0.4
    """Success rate to which the transformer is warm-started."""
    seed: int = 0
    """Seed of everything random."""
    precision: Precision | float = "float32"
    """float32 or float64: that of the transformer's numbers (enumeration is always in float64). A share, such as 0.05:
    short for --until trace_cov:0.05."""
    out: Path = Path("gradvar-results")
    """Folder for the table (CSV and Parquet), the JSON with provenance, and the plots."""
    json: Path | None = None
    """Also write the JSON to this file."""
    raw: bool = False
    """Show tr Cov and its part between prompts as they are; they grow with the square of an estimator's scale."""
    wide: bool = False
    """Tables with all their columns, however wide the terminal is."""
    quiet: bool = False
    """No progress bars."""

    def check(self) -> None:
        """Raise ``ValueError`` with one clear line on settings that cannot be met, before any work starts."""
        for name in ("policies", "estimators", "group_sizes", "staleness", "corrections"):
            if not getattr(self, name):
                raise ValueError(f"{name}: nothing given; name at least one")
        for name in ("policies", "estimators", "group_sizes", "staleness", "clip", "corrections"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name}: {_listed(values)} names something twice; give each once")
        for policy in self.policies:
            if self.task != "auto" and self.task not in TASKS[policy]:
                raise ValueError(
                    f"task: '{self.task}' is not for the {policy} policy; choose {_listed(TASKS[policy])}"
                )
        read_sampler(self.sampler)
        for correction in self.corrections:
            read_correction(correction)
        for size in self.group_sizes:
            if size < 2:
                raise ValueError(f"group_sizes: {size}; a group needs at least 2 rollouts")
            if self.budget == "rollouts" and size > self.rollouts:
                raise ValueError(
                    f"group_sizes: {size} is larger than the {self.rollouts} rollouts of a batch; raise rollouts"
                )
            if self.budget == "rollouts" and self.rollouts % size:
                raise ValueError(
                    f"group_sizes: {size} does not divide rollouts, {self.rollouts}; give a multiple of it"
                )
        for steps in self.staleness:
            if steps < 0:
                raise ValueError(f"staleness: {steps}; give optimiser steps, 0 or more")
        for value in self.clip:
            if not 0 < value < 1:
                raise ValueError(f"clip: {value}; give ranges between 0 and 1, such as 0.2")
        if self.rollouts < 2 or self.prompts < 1:
            raise ValueError(
                f"rollouts: {self.rollouts}, prompts: {self.prompts}; give at least 2 rollouts and 1 prompt"
            )
        if self.asked is not None and self.replicates is not None:
            raise ValueError(
                f"replicates: {self.replicates}, and a precision of {_listed(self._words)}; give one of them, and a "
                "limit with most"
            )
        if self.batches < 16 or self.batches % 2:
            raise ValueError(f"replicates: {self.replicates}; give an even number of at least 16")
        if not (math.isfinite(self.success) and 0 < self.success < 1):
            raise ValueError(f"success: {self.success}; give a rate between 0 and 1, such as 0.4")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed: {self.seed}; give a whole number from 0 to {2**32 - 1}")
        check_writable(self.out)
        if self.json is not None:
            check_file(self.json, "json")

    @property
    def _words(self) -> tuple[str, ...]:
        if isinstance(self.precision, str):
            return self.until
        return (*self.until, f"trace_cov:{self.precision:g}")

    @property
    def asked(self) -> "Until | None":
        """How narrow intervals shall be; None where a number of replicates is given."""
        from gradvar.core.until import Until  # SciPy, which --help needs not

        return Until.read(self._words, self.most) if self._words else None

    @property
    def batches(self) -> int:
        """The number of replicates, where no precision is asked for."""
        return _REPLICATES if self.replicates is None else self.replicates

    @property
    def dtype(self) -> Precision:
        """Of the transformer's numbers."""
        return self.precision if isinstance(self.precision, str) else "float32"

    @property
    def engine(self) -> SamplerWord:
        """The engine that ``sampler`` names, with its number."""
        return read_sampler(self.sampler)

    def as_dict(self) -> dict[str, object]:
        """Plain values, for provenance."""
        return plain_settings(self)


def plain_settings(config: Any) -> dict[str, object]:
    """The fields of a configuration as plain values; an estimator of the caller's by its name."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(x) for x in value]
    if isinstance(value, Path):
        return str(value)
    if not callable(value):
        return value
    return str(getattr(value, "name", "") or getattr(value, "__name__", type(value).__name__))


@dataclass(frozen=True)
class ListConfig:
    """List the estimators (name, what it is, source, settings), the words for engines and corrections, or the schema of
    what ``--json`` writes."""

    what: Literal["estimators", "samplers", "corrections", "schema"] = "estimators"
    """What is listed. schema: a JSON Schema, with one definition for each kind of result."""
    json: Path | None = None
    """Write the list to this file too."""
    wide: bool = False
    """A table as wide as it is, however wide the terminal is."""


def _listed(values: tuple[object, ...]) -> str:
    return ", ".join(str(_plain(v)) for v in values)
