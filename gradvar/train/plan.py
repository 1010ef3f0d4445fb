"""What an arm is, and what an experiment is asked: plain typed settings, checked before work starts. Imports no JAX."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gradvar.core.checks import at_least, between, finite, one_of, positive
from gradvar.core.spelling import read_correction, read_sampler
from gradvar.files.paths import check_file, check_writable
from gradvar.train.allocation import Allocation
from gradvar.train.game import PairedActions

if TYPE_CHECKING:
    from gradvar.core.estimator import Estimator

Schedule = Literal["constant", "linear", "cosine"]
Equal = Literal[
    "rollouts_per_step", "prompts_per_step", "prompts", "rollouts", "tokens", "updates", "seconds"
]
Rate = Literal["fixed", "linear", "sqrt", "tuned"]
Tuning = Literal["shared", "own"]
TaskName = Literal[
    "addition",
    "partial",
    "sorting",
    "long_sorting",
    "arithmetic",
    "countdown",
    "running_total",
    "verification",
    "form",
]


@dataclass(frozen=True)
class Phase:
    """A stretch of training with an objective and a source of rollouts of its own.

    ``share``: its share of the whole run, or, where the arm has a ``cycle``, its number of steps in each cycle.
    ``source``: ``fresh`` rollouts of the current policy on new prompts, or ``stored`` ones: then, when the phase
    begins, ``store`` prompts are drawn with the current policy, which also becomes the reference;
    ``informative`` keeps only groups whose rewards differ, ``difficulty`` those whose mean reward lies in this range.
    ``rate``: a factor on the arm's learning rate.
    """

    estimator: str | Estimator
    settings: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    source: Literal["fresh", "stored"] = "fresh"
    informative: bool = False
    rate: float = 1.0
    difficulty: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Arm:
    """One way to train; copy one with ``dataclasses.replace(arm, group=4)``.

    ``estimator``: a name of the catalogue with its ``settings``, or an estimator. ``group``: rollouts of one prompt.
    ``epochs`` passes over each batch in ``minibatches`` parts of whole groups: with more than one optimiser step
    per batch the later ones are off policy. ``rate``: a factor on the experiment's learning rate.
    ``schedule`` and ``warmup`` (a share of the run) shape it. ``attempts``: above 1, groups of equal rewards are
    replaced from new prompts in that many rounds at most; every rollout drawn is counted. ``critic_rate``: the
    learning rate of the value function, for estimators that need ``values``. ``phases``: none for one
    objective throughout; ``cycle``: they alternate with this period instead of following each other.
    ``store``: prompts that a stored phase draws at its start. ``sampler``: the engine that draws, spelt as for `gradvar
    measure` (``top_p:0.95``, ``fp8``, ``stale:4``: the weights of four steps ago); the clip stays around the policy at
    the batch's start. ``correction``: the weights for it (``tis:2``). ``game``: a game of a generator and a verifier in
    the place of an objective, on tasks that have one; ``group`` is then the rollouts of a prompt's game at most.
    ``allocation``: a rule that spends the step's rollouts unevenly over its prompts.
    """

    name: str
    estimator: str | Estimator
    settings: Mapping[str, Any] = field(default_factory=dict)
    group: int = 16
    epochs: int = 1
    minibatches: int = 2
    rate: float = 1.0
    schedule: Schedule = "constant"
    warmup: float = 0.0
    max_grad_norm: float = 1.0
    attempts: int = 1
    critic_rate: float = 1e-3
    phases: tuple[Phase, ...] = ()
    cycle: int = 0
    store: int = 64
    sampler: str = "none"
    correction: str = "none"
    game: PairedActions | None = None
    allocation: Allocation | None = None
    summary: str = ""

    def check(self) -> None:
        """Raise ``ValueError`` with one clear line on settings that cannot be met."""
        of_arm = f"of arm '{self.name}'"
        least = {"group": 1, "epochs": 1, "minibatches": 1, "attempts": 1, "store": 1, "cycle": 0}
        for name, minimum in least.items():
            at_least(f"{name} {of_arm}", getattr(self, name), minimum)
        for name in ("rate", "max_grad_norm", "critic_rate"):
            positive(f"{name} {of_arm}", finite(f"{name} {of_arm}", getattr(self, name)))
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup {of_arm}: {self.warmup}; give a share of the run below 1")
        for phase in self.phases:
            positive(f"phases {of_arm}, share", phase.share)
            positive(f"phases {of_arm}, rate", finite(f"phases {of_arm}, rate", phase.rate))
            if not 0 <= phase.difficulty[0] <= phase.difficulty[1] <= 1:
                raise ValueError(
                    f"phases {of_arm}, difficulty: {phase.difficulty}; give the lowest and the highest mean reward, "
                    "such as (0.25, 0.75)"
                )
        read_sampler(self.sampler, f"sampler {of_arm}")
        read_correction(self.correction)
        if self.game is not None:
            self.game.check(of_arm)
        if self.allocation is not None:
            self.allocation.check(of_arm, self.group)
            if self.phases or self.game or self.attempts > 1:
                raise ValueError(
                    f"allocation {of_arm}: it has phases, a game or attempts too; give one of them"
                )
        if (self.phases or self.game) and (self.sampler, self.correction) != ("none", "none"):
            raise ValueError(
                f"sampler {of_arm}: {self.sampler} with {self.correction}, and the arm has phases or a game; "
                "give none, or an arm of one objective"
            )
        total = sum(phase.share for phase in self.phases)
        if self.cycle and abs(total - self.cycle) > 1e-6:
            raise ValueError(
                f"cycle: {self.cycle} in arm '{self.name}' and its phases have {total:g} steps; give their sum"
            )

    def all_phases(self) -> tuple[Phase, ...]:
        """The phases; an arm without any is one phase."""
        return self.phases or (Phase(self.estimator, self.settings),)

    def as_dict(self) -> dict[str, Any]:
        """Plain values: what names the arm between runs."""
        plain = {name: value for name, value in vars(self).items() if name != "summary"}
        plain["game"] = None if self.game is None else dict(vars(self.game))
        if plain.pop("allocation") is not None:
            plain["allocation"] = dict(vars(self.allocation))
        plain["phases"] = [dict(vars(phase)) for phase in self.phases]
        for item in (plain, *plain["phases"]):
            item["estimator"] = getattr(item["estimator"], "name", item["estimator"])
            item["settings"] = dict(item["settings"])
        return plain


@dataclass(frozen=True)
class TrainConfig:
    """Train variants of an estimator (arms), several seeds each; say what a small group retains of a large one."""

    arms: tuple[str, ...] = ("grpo-2", "grpo-16")
    """Names from `gradvar train --list`, or your own estimator as path/to/file.py:name, with @4 for groups of four."""
    reference: str = "grpo-16"
    """The arm that the others are compared with."""
    task: TaskName = "addition"
    """addition (2 digits), partial (the same, graded), sorting (8 numbers), long_sorting (8 to 16), arithmetic (3
    digits), countdown (search), running_total (five numbers, with totals on the way that are not graded), verification
    (answers and verdicts on answers), form (drafted, challenged and revised lines of a form)."""
    sampler: str = "none"
    """The engine that samples every arm's rollouts, spelt as for `gradvar measure`: none (the policy itself),
    top_p:0.95, bfloat16, fp8, stale:4 (the weights of four steps ago) and so on."""
    corrections: tuple[str, ...] = ("none",)
    """Weights for the engine's log-probabilities, such as none tis:2 seq_mask: every arm is trained with each."""
    seeds: int = 8
    """Runs per arm and warm start, paired: run i of every arm sees the same prompts in the same order."""
    starts: int = 1
    """Warm starts, each with seeds of its own: what an interval is over. A headline needs ten."""
    seed: int = 0
    """Seed of the warm start and first seed of the runs."""
    success: float = 0.3
    """Success rate to which the policy is warm-started."""
    equal: Equal = "rollouts_per_step"
    """What is held equal between arms: rollouts or prompts per step (over `steps` steps); rollouts per step and the
    total of prompts ("prompts": `steps` are the reference's, a smaller group takes fewer); or a total over the run."""
    steps: int = 200
    """Steps, where rollouts or prompts per step are equal; a total ends the run by itself."""
    rollouts_per_step: int = 64
    """Rollouts of one step, where those are equal; the number of prompts follows from the group."""
    prompts_per_step: int = 8
    """Prompts of one step in every other case."""
    total: float = 10_000
    """Where a total is equal: the rollouts, tokens or optimiser updates of every seed, or the seconds of all seeds of
    an arm together."""
    rate: Rate = "fixed"
    """Learning rates: fixed; linear or sqrt in the prompts per step, from the reference's; or tuned per arm."""
    tuning: Tuning = "shared"
    """Where rates are tuned: shared, on the first warm start, one rate of each arm for all starts; or own, every warm
    start tunes rates of its own."""
    learning_rate: float = 3e-4
    """Adam's, of the reference arm."""
    grid: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Factors on the learning rate to tune over, three or more; the runs that tune have seeds and held-out prompts of
    their own. A rate at an end of the grid does not count as tuned: give a wider grid."""
    tuning_seeds: int = 3
    """Seeds per point of the grid."""
    evaluations: int = 10
    """Evaluations along the run, besides the one at its start."""
    eval_prompts: int = 128
    """Held-out prompts; none of them is trained on."""
    eval_rollouts: int = 16
    """Rollouts of each, for the mean reward and pass@k."""
    noise: int = 0
    """Prompts of the score bank that measures the gradient's noise at every evaluation; 0: it is not measured."""
    predict: int = 0
    """Prompts of a score bank of the first warm start, from which the best group, ratios of variances and every arm's
    progress are predicted; written to prediction.json before any arm is trained, and compared afterwards. 0: none."""
    width: int = 48
    """Width of the transformer; its hidden layers are three times as wide."""
    precision: Literal["float32", "float64"] = "float32"
    """Of the transformer."""
    out: Path = Path("gradvar-training")
    """Folder for checkpoints, metrics (JSONL and TensorBoard) and results; the same command again resumes."""
    json: Path | None = None
    """Also write the results to this file."""
    list: bool = False
    """List the arms and stop."""
    wide: bool = False
    """A table with all its columns, however wide the terminal is."""
    quiet: bool = False
    """No progress bar."""

    def check(self) -> None:
        """Raise ``ValueError`` with one clear line on settings that cannot be met, before any work starts."""
        if not self.arms:
            raise ValueError("arms: nothing given; name at least one of `gradvar train --list`")
        if len(set(self.arms)) != len(self.arms):
            raise ValueError(f"arms: {', '.join(self.arms)} names something twice; give each once")
        one_of("reference", self.reference, self.arms)
        read_sampler(self.sampler)
        if len(set(self.corrections)) != len(self.corrections) or not self.corrections:
            raise ValueError(f"corrections: {', '.join(self.corrections)}; name at least one, and each once")
        for correction in self.corrections:
            read_correction(correction)
        if self.noise and self.sampler != "none":
            raise ValueError(f"noise: {self.noise} with the sampler {self.sampler}; give 0, or no sampler")
        least = {
            "seeds": 1, "starts": 1, "steps": 1, "rollouts_per_step": 2, "prompts_per_step": 1, "tuning_seeds": 1,
            "evaluations": 1, "eval_prompts": 1, "eval_rollouts": 1, "width": 8,
        }  # fmt: skip
        for name, minimum in least.items():
            at_least(name, getattr(self, name), minimum)
        if self.noise and self.noise < 8:
            raise ValueError(f"noise: {self.noise} prompts; give 8 or more, or 0 to measure none")
        if self.predict and self.predict < 8:
            raise ValueError(f"predict: {self.predict} prompts; give 8 or more, or 0 to predict nothing")
        for name in ("learning_rate", "total"):
            positive(name, finite(name, getattr(self, name)))
        if self.equal in ("rollouts", "tokens") and self.total >= 2**30:
            raise ValueError(f"total: {self.total:g}; give less than 2^30, which the counters hold")
        if not 0 < self.success < 1:
            raise ValueError(f"success: {self.success}; give a rate between 0 and 1, such as 0.3")
        if self.width % 8:
            raise ValueError(f"width: {self.width}; give a multiple of 8 (four heads of even width)")
        if self.rate == "tuned" and not (
            self.grid and all(0 < f < math.inf for f in self.grid) and len(set(self.grid)) == len(self.grid)
        ):
            raise ValueError(f"grid: {self.grid}; give different factors above 0, such as 0.5 1 2")
        if self.tuning == "own" and self.rate != "tuned":
            raise ValueError(f"tuning: own, and rate is {self.rate}; give rate tuned, or tuning shared")
        if self.rate == "tuned" and len(self.grid) < 3:
            raise ValueError(
                f"grid: {self.grid}; give three or more, such as 0.5 1 2: a best rate at an end is not tuned"
            )
        between("seed", self.seed, 0, 2**31 - 2**16 - 1)
        check_writable(self.out)
        if self.json is not None:
            check_file(self.json, "json")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for provenance."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(self).items()}


TUNING_OFFSET = 2**16
"""Seeds of the runs that tune start this far from those of the runs that count."""


@dataclass(frozen=True)
class Plan:
    """An arm with the numbers that the experiment gives it: sizes, learning rate and limits, all reported.

    ``steps``, ``rollouts``, ``tokens`` (int32) and ``seconds`` end the run, whichever comes first.
    """

    arm: Arm
    prompts: int
    learning_rate: float
    steps: int
    rollouts: int = 2**31 - 1
    tokens: int = 2**31 - 1
    seconds: float = math.inf

    @property
    def rollouts_per_step(self) -> int:
        """Rollouts that one step trains on."""
        return self.prompts * self.arm.group

    def as_dict(self) -> dict[str, Any]:
        """Return the settings, the arm's included, as plain values."""
        numbers = {name: value for name, value in vars(self).items() if name != "arm"}
        numbers["seconds"] = None if math.isinf(self.seconds) else self.seconds
        return {"arm": self.arm.as_dict(), **numbers}


def prompts_of(config: TrainConfig, arm: Arm) -> int:
    """Prompts per step of an arm, by what is held equal.

    Raises ``ValueError`` where the group does not divide the rollouts, or the minibatches the prompts.
    """
    prompts = config.prompts_per_step
    if config.equal in ("rollouts_per_step", "prompts"):
        if config.rollouts_per_step % arm.group:
            raise ValueError(
                f"rollouts_per_step: {config.rollouts_per_step} is no multiple of the group of '{arm.name}', "
                f"{arm.group}; give a multiple"
            )
        prompts = config.rollouts_per_step // arm.group
    if prompts % arm.minibatches:
        raise ValueError(
            f"minibatches: {arm.minibatches} in arm '{arm.name}' do not divide its {prompts} prompts per step; "
            "give a divisor, or more prompts or rollouts per step"
        )
    return prompts


def plan(config: TrainConfig, arm: Arm, reference: Arm) -> Plan:
    """The arm's sizes, learning rate and limits under ``config``.

    A linear or square-root rule scales the learning rate with the prompts per step, relative to the
    reference arm: with equal rollouts per step a group of 2 has eight times the prompts of a group of 16, and the
    paper's learning rate went up eightfold with them.
    """
    arm.check()
    prompts = prompts_of(config, arm)
    ratio = prompts / prompts_of(config, reference)
    factor = {"linear": ratio, "sqrt": ratio**0.5}.get(config.rate, 1.0)
    limits: dict[str, Any] = {}
    if config.equal in ("rollouts", "tokens"):
        limits[config.equal] = int(config.total)
    if config.equal == "seconds":
        limits["seconds"] = float(config.total)
    steps = config.steps if config.equal.endswith("_per_step") else 2**31 - 1
    if config.equal == "updates":
        steps = max(1, round(config.total / (arm.epochs * arm.minibatches)))
    if config.equal == "prompts":
        steps = max(1, round(config.steps / ratio))
    return Plan(arm, prompts, config.learning_rate * arm.rate * factor, steps, **limits)
