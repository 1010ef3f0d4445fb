"""The runs of one setting, each kept in a file of its own, so that the same command goes on where it was stopped.

A step has as many rollouts with every group size, and the learning rate is constant, so one run is read at all budgets:
what a run is after n steps does not depend on how long it goes on.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from benchmarks.settling import settings as fixed
from benchmarks.settling.settings import Setting, Size
from gradvar.files.tables import to_plain, write_json
from gradvar.policies import Transformer
from gradvar.train import arms
from gradvar.train.held_out import Part, Training
from gradvar.train.loop import train
from gradvar.train.plan import TUNING_OFFSET, Plan
from gradvar.train.prediction import predict
from gradvar.train.trainer import Trainer
from gradvar.train.tuning import at_rate
from gradvar.train.warm_start import WarmStart, warm_start

Curve = dict[str, Any]


@dataclass(frozen=True)
class Runs:
    """All runs of a setting at one size, in a folder. ``trainers``: compiled programs, for settings of one task."""

    setting: Setting
    size: Size
    folder: Path
    seed: int = 5000
    trainers: dict[tuple[int, str], Trainer] = field(default_factory=dict, compare=False)

    @cached_property
    def task(self) -> Training:
        """The task without its held-out prompts."""
        return Training(self.setting.task)

    @cached_property
    def policy(self) -> Transformer:
        """What is trained."""
        width = self.setting.width
        return Transformer.for_task(self.setting.task, width=width, hidden=3 * width)

    def start(self, number: int) -> WarmStart:
        """A warm start; they are kept on disk by ``warm_start``. One that does not reach the setting's success is made
        again from another key."""
        for attempt in range(fixed.ATTEMPTS):
            first = self.start_key(number)
            key = jax.random.fold_in(first, attempt) if attempt else first
            start = warm_start(self.policy, self.task, key, self.setting.success)
            if start.reached:
                return start
        raise RuntimeError(
            f"{self.setting.name}: {fixed.ATTEMPTS} starts of number {number} do not reach {self.setting.success}"
        )

    def start_key(self, number: int) -> PRNGKeyArray:
        """Of a warm start."""
        return jax.random.fold_in(jax.random.key(self.seed), number)

    def plan(self, group: int) -> Plan:
        """An arm's plan: GRPO with this group, as many rollouts in a step as every other arm."""
        prompts = self.size.rollouts_per_step // group
        return Plan(arms.get(f"grpo-{group}"), prompts, fixed.LEARNING_RATE, self.size.steps)

    def place(self, name: str) -> Path:
        """The file of a part."""
        return self.folder / self.setting.name / f"{name}.json"

    def part(self, name: str, make: Any) -> Any:
        """A part from its file, or made and kept."""
        place = self.place(name)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            write_json(place, make())
        return json.loads(place.read_text())

    def prediction(self) -> dict[str, Any]:
        """What the theory says of the default's arms and of these, from a bank of the first warm start; made before any
        run, so that arms which are added later have theirs already."""

        def make() -> dict[str, Any]:
            plans = [self.plan(group) for group in sorted({*Size.groups, *self.size.groups})]
            key = jax.random.fold_in(jax.random.key(self.seed), 1 << 20)
            start = self.start(0).params
            return predict(
                self.policy, self.task, start, key, self.size.bank_prompts, plans, f"grpo-{fixed.REFERENCE}"
            )

        return self.part("prediction", make)

    def starts(self) -> list[dict[str, Any]]:
        """Facts of the warm starts."""

        def make() -> list[dict[str, Any]]:
            made = [self.start(number) for number in range(self.size.starts)]
            return [
                {"success": s.success_rate, "steps": s.steps, "between_prompts": s.between_prompts}
                for s in made
            ]

        return self.part(f"starts-{self.size.starts}", make)

    def trainer(self, group: int, part: Part) -> Trainer:
        """The programs of an arm, compiled once, examined on the prompts of a part."""
        if (group, part) not in self.trainers:
            other = self.trainers.get((group, "test" if part == "validation" else "validation"))
            key = jax.random.fold_in(jax.random.key(self.seed), (1 << 21) + (part == "validation"))
            prompts = self.task.examination(key, self.size.eval_prompts, part)
            made = (
                other.examined_on(prompts)
                if other
                else Trainer(
                    self.policy, self.task, self.plan(group), prompts, self.size.eval_rollouts,
                    devices=jax.devices()[:1],
                )
            )  # fmt: skip
            self.trainers[group, part] = made
        return self.trainers[group, part]

    def curve(self, group: int, factor: float, number: int, *, tuning: bool) -> Curve:
        """One run: of a tuning seed from the first warm start, or the one of this number."""

        def make() -> Curve:
            trainer = self.trainer(group, "validation" if tuning else "test")
            trainer = at_rate(trainer, fixed.LEARNING_RATE * factor)
            start = self.start(0 if tuning else number % self.size.starts)
            seed = self.seed + number + (TUNING_OFFSET if tuning else 0)
            run = train(trainer, start.params, (seed,), evaluations=self.size.points)
            return {
                "steps": run.steps[:, 0], "tokens": run.tokens[:, 0], "seconds": run.seconds,
                "reward": np.round(run.curves["reward"][:, 0], 5),
            }  # fmt: skip

        kind = "tuning" if tuning else "run"
        return self.part(f"{kind}-{group}-{factor:g}-{number}", make)

    def tuned(self, group: int) -> dict[str, dict[str, Any]]:
        """The factor on the learning rate for the budget of prompts and for that of tokens, on validation prompts.

        The grid is widened while the best of it is at an end, from ``lowest_rate`` to ``HIGHEST_RATE``; there it is
        said to be at the edge.
        """
        made = {}
        seeds = range(self.size.tuning_seeds)
        for budget, steps in (("prompts", self.prompts_steps(group)), ("tokens", self.size.steps)):
            grid = list(fixed.FIRST_GRID)
            while True:
                score = {
                    factor: float(
                        np.mean([at(self.curve(group, factor, s, tuning=True), "steps", steps) for s in seeds])
                    )
                    for factor in sorted(grid)
                }  # fmt: skip
                best = max(score, key=lambda factor: score[factor])
                wider = best * {min(grid): 0.5, max(grid): 2.0}.get(best, 1.0)
                if wider in grid or not self.size.lowest_rate <= wider <= fixed.HIGHEST_RATE:
                    break
                grid.append(wider)
            made[budget] = {"factor": best, "edge": best in (min(grid), max(grid)), "tried": score}
        return made

    def prompts_steps(self, group: int) -> float:
        """Steps after which every arm has seen as many prompts: the largest group all of its steps."""
        return self.size.steps * group / max(self.size.groups)

    def kept_curves(self) -> list[Curve]:
        """Every run that is on disk, the tuning's too: with ``restore`` a later session goes on from results alone."""
        made = []
        for place in sorted(self.place("x").parent.glob("*-*-*-*.json")):
            kind, group, factor, number = place.stem.split("-")
            row = {"kind": kind, "group": int(group), "factor": float(factor), "run": int(number)}
            start = 0 if kind == "tuning" else int(number) % self.size.starts
            made.append(row | {"start": start} | json.loads(place.read_text()))
        return made

    def restore(self, content: Mapping[str, Any]) -> None:
        """Put the prediction and the runs of this setting's results where ``part`` looks for them.

        Raises ``ValueError`` where they were made at another size.
        """
        for name in ("steps", "points", "rollouts_per_step", "eval_prompts", "eval_rollouts", "bank_prompts"):
            if content["size"][name] != getattr(self.size, name):
                raise ValueError(
                    f"{name}: {content['size'][name]} in the results, {getattr(self.size, name)} asked for"
                )
        self.part("prediction", lambda: content["prediction"])
        for row in content["curves"]:
            if row["kind"] == "run" and row["start"] != row["run"] % self.size.starts:
                continue  # with more warm starts this number is another one's
            if row["group"] not in self.size.groups:
                continue
            curve = {name: row[name] for name in ("steps", "tokens", "seconds", "reward")}
            self.part(f"{row['kind']}-{row['group']}-{row['factor']:g}-{row['run']}", lambda kept=curve: kept)

    def stages(self) -> Iterator[list[Iterator[str]]]:
        """All parts, in stages that follow one another; what is on disk already takes no time.

        A stage is a list of sequences that may be worked off side by side, each in a thread; a sequence says of every
        part what it was once it is done. Every group size has a sequence of its own in which it is tuned, so none waits
        for another's programs to be compiled. The runs that count follow one another: their seconds are compared, and
        an arm beside which another one runs is slower than the one that is left over.
        """
        yield [self._warm_start(number) for number in range(self.size.starts)]
        yield [self._prediction()]
        yield [self._tuning(group) for group in self.size.groups]
        yield [self._runs()]

    def _warm_start(self, number: int) -> Iterator[str]:
        self.start(number)
        yield f"warm start {number}"

    def _prediction(self) -> Iterator[str]:
        self.starts()
        self.prediction()
        yield "prediction"

    def _tuning(self, group: int) -> Iterator[str]:
        self.tuned(group)
        yield f"tuning of {group}"

    def _runs(self) -> Iterator[str]:
        for number in range(self.size.runs):
            for group in self.size.groups:
                for factor in self.factors(group):
                    self.curve(group, factor, number, tuning=False)
                yield f"run {number}, {group}"

    def factors(self, group: int) -> list[float]:
        """The chosen factors of an arm, each once."""
        return sorted({choice["factor"] for choice in self.tuned(group).values()})

    def facts(self) -> dict[str, Any]:
        """The setting in plain values."""
        params = jax.eval_shape(self.policy.init, jax.random.key(0))
        size = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
        return to_plain({
            "task": repr(self.setting.task), "success": self.setting.success, "parameters": size,
            "size": asdict(self.size),
        })  # fmt: skip


def at(curve: Curve, axis: str, place: float) -> float:
    """A run's held-out reward at a place of an axis, by linear interpolation between its evaluations."""
    return float(np.interp(place, curve[axis], curve["reward"]))
