"""Problems that a study measures on: random finite ones, and a transformer that was warm-started on a task."""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gradvar import catalogue
from gradvar.core.progress import ProgressMonitor
from gradvar.core.protocols import FinitePolicy, FiniteTask, Policy, Sampler, Task
from gradvar.core.spelling import SamplerWord
from gradvar.files.fingerprint import digest
from gradvar.measure.exact.tables import ExactTables, exact_tables
from gradvar.measure.spelled import sampler_piece
from gradvar.policies import Bandit, Tabular, Transformer
from gradvar.studies.config import MeasureConfig, PolicyName
from gradvar.tasks import Bandit as RewardTable
from gradvar.tasks import Lookup, ModularAddition, PartialAddition, Sorting
from gradvar.train.drift import drift
from gradvar.train.warm_start import warm_start

NUM_PROMPTS = 6
_PATH = 4  # which random path a stale policy takes: any number would do
DRIFT_RATE = {"bandit": 0.1, "tabular": 0.1, "transformer": 3e-4}

# Small enough to be learnt in seconds, with prompts of unequal difficulty (carries, answers of one or two digits,
# repeated values).
SEQUENCE_TASKS: dict[str, Callable[[], Task]] = {
    "addition": lambda: ModularAddition(digits=2, modulus=20),
    "partial": lambda: PartialAddition(digits=2, modulus=20),
    "sorting": lambda: Sorting(length=5, values=6),
}


@dataclass(frozen=True)
class Start:
    """What a problem begins with: the parameters that sample, and their mean reward."""

    params: PyTree
    success: float


@dataclass(frozen=True)
class Problem:
    """A policy on a task; its parameters, which may take a while to learn, are there once they are asked for.

    ``start``: where it begins. ``stale``: of each later policy, by its optimiser steps from there. ``engine``: what
    draws the rollouts; the trainer's proximal policy is ``engine.steps`` optimiser steps from the start, and other
    steps are counted from it.
    """

    name: PolicyName
    task_name: str
    policy: Policy
    task: Task
    start: Future[Start]
    stale: Future[dict[int, PyTree]]
    engine: SamplerWord
    _computed: dict[tuple[str, int], Any] = field(default_factory=dict, repr=False)

    @property
    def title(self) -> str:
        """The policy and its task, in words."""
        return f"{self.name}, {self.task_name}"

    @property
    def success(self) -> float:
        """The mean reward of the policy at the start."""
        return self.start.result().success

    @property
    def sampler(self) -> Sampler | None:
        """The engine that draws; None for the trainer's proximal policy itself."""
        sampler: Sampler | None = sampler_piece(self.engine, lambda: self.start.result().params)
        return sampler

    def params(self, steps: int) -> PyTree:
        """The parameters after so many optimiser steps; those of 0 are the trainer's proximal policy."""
        total = steps + self.engine.steps
        return self.stale.result()[total] if total else self.start.result().params

    def tables(self, steps: int) -> ExactTables:
        """Everything about a finite policy after ``steps``, listed once."""
        if ("tables", steps) not in self._computed:
            now, old = self.params(steps), self.params(0)
            tables = exact_tables(self.policy, now, self.task, old, sampler=self.sampler)  # type: ignore[arg-type]
            self._computed["tables", steps] = tables
        return self._computed["tables", steps]

    def digest(self, steps: int) -> str:
        """A hash of the parameters after ``steps``."""
        if ("digest", steps) not in self._computed:
            self._computed["digest", steps] = digest(self.params(steps))
        return self._computed["digest", steps]


def problems(
    config: MeasureConfig, monitor: ProgressMonitor, first_table: threading.Event | None = None
) -> Generator[Problem, None, None]:
    """The problem of each policy that ``config`` names, in its order.

    A thread prepares their parameters (a transformer compiles and learns for some seconds) while the caller measures.
    Close the generator to stop it early.

    Args:
        config: What is measured.
        monitor: Receives the progress.
        first_table: Set once the first policy has a table: what later policies have to learn waits for it, so that
            both cores work for that table.
    """
    double = jnp.result_type(float) == jnp.float64  # the precision may be set for the caller's thread only
    stop = threading.Event()
    stoppable = _Stoppable(monitor, stop)

    with ThreadPoolExecutor(1) as thread:

        def submit(prepare: Callable[..., Any], *args: Any) -> Future[Any]:
            def run() -> Any:
                with jax.enable_x64(double):
                    return prepare(*args)

            return thread.submit(run)

        prepared: list[Problem] = []
        try:
            for name in config.policies:
                if prepared and first_table is not None and name == "transformer":
                    thread.submit(first_table.wait)  # the thread does one thing after another
                prepared.append(_problem(name, config, stoppable, submit))
            yield from prepared
        finally:
            stop.set()
            if first_table is not None:
                first_table.set()
            thread.shutdown(cancel_futures=True)


class _Stoppable:
    """A monitor that ends the work which reports to it, once nobody waits for the result."""

    def __init__(self, monitor: ProgressMonitor, stop: threading.Event) -> None:
        self._monitor, self._stop = monitor, stop

    def stage(self, name: str, total: int) -> None:
        """Pass the beginning of a stage on."""
        self._monitor.stage(name, total)

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Pass progress on, or end the work."""
        if self._stop.is_set():
            raise InterruptedError("study: stopped")
        self._monitor.advance(steps, note)


def _problem(
    name: PolicyName, config: MeasureConfig, monitor: ProgressMonitor, submit: Callable[..., Future[Any]]
) -> Problem:
    """The problem of one policy by name; ``submit`` calls what prepares its parameters in another thread."""
    if name == "transformer":
        task_name = "addition" if config.task == "auto" else config.task
        task: Task = SEQUENCE_TASKS[task_name]()
        # a transformer of about 60,000 parameters
        policy: Policy = Transformer.for_task(task, dtype=config.dtype, width=48, hidden=144)
        start = submit(_taught, policy, task, task_name, config, monitor)
    else:
        task_name = "binary" if config.task == "auto" else config.task
        policy, task, params = finite_problem(name, task_name, config.seed)
        start = submit(_listed, policy, task, params)
    stale = submit(_stale, name, policy, task, start, config, monitor)
    return Problem(name, task_name, policy, task, start, stale, config.engine)


def _listed(policy: FinitePolicy, task: FiniteTask, params: PyTree) -> Start:
    """The given parameters of a finite policy, and their exact mean reward."""
    tables = exact_tables(policy, params, task)
    return Start(params, float((np.asarray(tables.probs) * np.asarray(tables.rewards)).sum(-1).mean()))


def _taught(
    policy: Policy, task: Task, task_name: str, config: MeasureConfig, monitor: ProgressMonitor
) -> Start:
    """Parameters that were warm-started to the success rate asked for; kept on disk."""
    monitor.stage(f"transformer: warm start on {task_name}", 1)
    warm = warm_start(policy, task, jax.random.key(config.seed), config.success, monitor=monitor)
    monitor.advance(note=f"to a success rate of {config.success:g}")
    return Start(warm.params, warm.success_rate)


def _stale(
    name: PolicyName,
    policy: Policy,
    task: Task,
    start: Future[Start],
    config: MeasureConfig,
    monitor: ProgressMonitor,
) -> dict[int, PyTree]:
    """The parameters at every staleness of ``config``, by their optimiser steps from the start, all on one path.

    Args:
        name: Of the policy.
        policy: What is trained on.
        task: What it is trained on.
        start: Where it begins.
        config: What is measured.
        monitor: Receives a step for every staleness.
    """
    params = {0: start.result().params}
    steps = sorted({config.engine.steps, *(config.engine.steps + s for s in config.staleness)} - {0})
    if steps:
        monitor.stage(f"{name}: {steps[-1]} optimiser steps", len(steps))
    # One path for all: its first steps are the same wherever it ends, so a setting does not depend on the others.
    path = jax.random.fold_in(jax.random.key(config.seed), _PATH)
    for after in steps:
        params[after] = drift(
            policy, params[0], task, path, after, catalogue.get("rloo"), learning_rate=DRIFT_RATE[name],
            prompts_per_step=8, group=8,
        )  # fmt: skip
        monitor.advance()
    return params


def finite_problem(policy: str, task: str, seed: int) -> tuple[FinitePolicy, FiniteTask, PyTree]:
    """A random finite policy and task of six prompts: ``policy`` bandit or tabular, ``task`` binary or graded."""
    rng = np.random.default_rng(seed)
    model: FinitePolicy = Tabular(2, 3, num_prompts=NUM_PROMPTS, stop=1)
    if policy == "bandit":
        model = Bandit(4, num_prompts=NUM_PROMPTS)
    support = model.support()
    if task == "graded":
        rewards = rng.normal(size=(NUM_PROMPTS, len(support)))
    else:
        # Some completions are right, never none and never all: every prompt can be learnt from.
        rewards = np.zeros((NUM_PROMPTS, len(support)))
        for row in rewards:
            row[rng.choice(len(row), size=rng.integers(1, len(row) - 1), replace=False)] = 1.0
    params = model.init(jax.random.key(seed))
    return model, RewardTable(rewards) if policy == "bandit" else Lookup(rewards, support), params
