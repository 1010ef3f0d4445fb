"""``ScoreBank``: record once, evaluate any estimator. A thin face of what works on a plain ``Recording``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import PRNGKeyArray, PyTree

from gradvar.core.estimator import Estimator, Objective
from gradvar.core.protocols import Policy, Sampler, Task
from gradvar.measure.bank.comparison import Evaluation
from gradvar.measure.bank.data import Recording, Rollouts
from gradvar.measure.bank.disk import load, save
from gradvar.measure.bank.evaluate import Independent, evaluate
from gradvar.measure.bank.extend import extend
from gradvar.measure.bank.recorder import RecordPlan, RecordSettings
from gradvar.measure.bank.summary import Summary, summarise
from gradvar.measure.direct_plan import PolicyOnTask
from gradvar.policies.sampler_weights import as_sampler


@dataclass(frozen=True, eq=False, repr=False)
class ScoreBank:
    """A recording, and everything that can be asked of it; ``record`` makes one."""

    recording: Recording

    @property
    def rollouts(self) -> Rollouts:
        """Prompts, completions, rewards and log-probabilities."""
        return self.recording.rollouts

    @property
    def info(self) -> Mapping[str, Any]:
        """How it was recorded, as plain values."""
        return self.recording.info

    def __repr__(self) -> str:
        """Describe what it holds, how the scores were formed, and what that took."""
        recording = self.recording
        size, rollouts, time = recording.rollouts.shape
        fact = recording.info.get
        seconds = " + ".join(f"{v:.1f} s {n}" for n, v in fact("seconds", {}).items()) or "unknown"
        megabytes = sum(x.nbytes for x in recording.scores.arrays().values()) / 1e6
        return (
            f"ScoreBank: {size} prompts x {rollouts} rollouts of up to {time} tokens, "
            f"{'on' if recording.rollouts.on_policy else 'off'} policy; {recording.rows.count} rows "
            f"(at most {recording.rows.basis.shape[2]} a rollout) of {fact('params', '?')} parameters, kept as "
            f"{fact('map', '?')} in {megabytes:.1f} MB; formed by {fact('way', '?')}; took {seconds}"
        )

    def evaluate(
        self,
        estimators: Sequence[Estimator | Objective] | Mapping[str, Estimator | Objective],
        group_sizes: Sequence[int],
        *,
        prompts: int = 1,
        replicates: int = 512,
        independent: Independent = "auto",
        slices: int | None = None,
        seed: int = 0,
    ) -> Evaluation:
        """Moments of every estimator at every group size, from the recorded rollouts alone.

        Every figure that ``Moments`` calls unbiased is so. ``mean`` is in the parameters' space where whole scores are
        kept, and empty elsewhere.

        Args:
            estimators: A sequence (keyed by their names), or a mapping from a label of your choice.
            group_sizes: Rollouts of each prompt in a batch.
            prompts: How many prompts a batch has.
            replicates: At least how many batches are formed; it brings point estimates near the complete U-statistic.
            independent: What the error bars are about. "prompts": the recorded prompts are a sample, and errors are
                jackknifed over them. "rollouts": these prompts are all there is, a batch holds all of them (``prompts``
                is then their number), and errors come from slices of the rollouts. "auto": prompts where they were
                drawn from the task and there are at least 8 batches' worth of them.
            slices: Disjoint slices of the rollouts, three or more: of two there is no jackknife, errors are NaN and a
                warning says so. By default as many as leave whole groups in each, 32 at most.
            seed: Of the random deals.

        Raises:
            ValueError: There are too few rollouts, or the basis does not span an estimator's token weights (``extend``
                the bank).
        """
        return evaluate(
            self.recording, estimators, group_sizes, prompts=prompts, replicates=replicates, independent=independent,
            slices=slices, seed=seed,
        )  # fmt: skip

    def summary(self) -> Summary:
        """The four numbers and the U-statistic's numbers of every prompt, with errors."""
        return summarise(self.recording)

    def extend(
        self,
        policy: Policy,
        params: PyTree,
        task: Task,
        key: PRNGKeyArray,
        *,
        prompts: int = 0,
        rollouts: int = 0,
        estimators: Sequence[Estimator | Objective] = (),
        old_params: PyTree | None = None,
        ref_params: PyTree | None = None,
        sampler: Sampler | PyTree | None = None,
        settings: RecordSettings | None = None,
    ) -> ScoreBank:
        """The bank with more prompts, with more rollouts of each prompt, or with a basis for more estimators.

        Rows that exist are kept as they are where whole scores or sketches are kept; with a Gram matrix every row's
        backward pass is run again, because products of old and new rows are needed.

        Args:
            policy: The one that it was recorded with.
            params: Those that it was recorded with.
            task: The one that it was recorded with.
            key: Of the new rollouts.
            prompts: How many to add.
            rollouts: How many to add to each prompt, if no prompts are added.
            estimators: *All* that new rollouts must serve.
            old_params: Those that it was recorded with.
            ref_params: Those that it was recorded with.
            sampler: The one that it was recorded with.
            settings: Baselines and devices.
        """
        subject = PolicyOnTask(policy, task, params, old_params, ref_params, as_sampler(sampler))
        plan = RecordPlan(estimators, settings=settings or RecordSettings())
        return ScoreBank(extend(self.recording, subject, key, plan, prompts=prompts, rollouts=rollouts))

    def save(self, folder: str | Path) -> Path:
        """Write the bank to ``folder``, in place of one that was saved there before."""
        return save(self.recording, Path(folder))

    @classmethod
    def open(cls, folder: str | Path, *, prompts: slice | None = None) -> ScoreBank:
        """Open what ``save`` or ``record(folder=...)`` wrote, or only a range of its prompts."""
        return cls(load(Path(folder), prompts))
