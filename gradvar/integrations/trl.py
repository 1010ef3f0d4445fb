"""``GradVarCallback``: ``Monitor`` inside TRL's ``GRPOTrainer``, logged to whatever that trainer reports to.

TRL gives a callback neither rewards nor tokens, so this one takes the trainer, as TRL's own ``LogCompletionsCallback``
does, and looks at what ``_calculate_rewards`` and ``_generate_and_score_completions`` return. Tested with TRL 1.16.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from gradvar.core.checks import at_least, positive
from gradvar.integrations.monitor import Monitor
from gradvar.torch.arrays import as_numpy

if TYPE_CHECKING:
    Base = object
else:
    try:
        from transformers import TrainerCallback as Base
    except ImportError:  # said when a callback is made
        Base = None

LOGGER = logging.getLogger("gradvar")
FIRST = 15.0
"""Seconds that the first look at the gradient may take on a busy machine: PyTorch's functions and JAX are loaded."""
_LAYER = re.compile(r"\.(\d+)\.")


class GradVarCallback(Base or object):  # type: ignore[misc]
    """Logs what the rewards and the gradient of a GRPO training say about its group size.

        trainer = GRPOTrainer(...)
        trainer.add_callback(GradVarCallback(trainer))

    At every generation: ``gradvar/frac_reward_zero_std`` over the last steps with its interval,
    ``gradvar/groups_with_signal/G=...``, ``gradvar/effective_groups``, and with vLLM's log-probabilities the mismatch
    and the effective sample sizes. At intervals, of the adapter or of the last layer:
    ``gradvar/snr_per_rollout/G=...``, the best group size, and ``gradvar/raise_or_lower_G`` (1 raise, -1 lower, 0
    cannot be told). ``gradvar/overhead`` is the share of the training's time that all this has taken.

    Args:
        trainer: A ``GRPOTrainer``, or one derived from it.
        monitor: What keeps the figures; by default a ``Monitor()``.
        score_every: Generations between two looks at the gradient; 0 for none.
        overhead: The share of the training's time that may be spent: a look that would exceed it waits.
        only: Which parameters are looked at, by a pattern found in the name; by default the adapter's (``lora_``), else
            those of the last layer.
        prompts: Prompts of one look at most; three at least.

    Raises:
        ImportError: Where transformers is not installed.
        ValueError: Where the trainer is not one whose rewards can be seen.
    """

    def __init__(
        self,
        trainer: Any,
        *,
        monitor: Monitor | None = None,
        score_every: int = 20,
        overhead: float = 0.02,
        only: str | None = None,
        prompts: int = 16,
    ) -> None:
        if Base is None:
            raise ImportError("transformers: not installed; pip install trl")
        needed = ("_calculate_rewards", "_generate_and_score_completions", "_metrics", "num_generations")
        if missing := [name for name in needed if not hasattr(trainer, name)]:
            raise ValueError(
                f"trainer: {type(trainer).__name__} has no {missing[0]}; give TRL's GRPOTrainer, or use Monitor"
            )
        self.trainer, self.monitor = trainer, monitor or Monitor()
        at_least("score_every", score_every, 0)
        at_least("prompts", prompts, 3)
        self.score_every, self.prompts = score_every, prompts
        self.overhead = positive("overhead", overhead)
        self.only = only
        self.spent = 0.0  # seconds
        self._started = time.perf_counter()
        self._generations, self._looked, self._cost, self._direction = 0, 0, FIRST, 0
        self._scored: tuple[Any, Any] | None = None
        self._watch()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock against which the overhead is measured."""
        self._started, self.spent = time.perf_counter(), 0.0

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say in a sentence what the run has shown."""
        if state.is_world_process_zero:
            LOGGER.warning(self.monitor.advice())

    def _watch(self) -> None:
        """Put a look at what they return around the two methods of this trainer."""
        calculate = self.trainer._calculate_rewards
        generate = self.trainer._generate_and_score_completions

        def calculate_rewards(inputs: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
            values = calculate(inputs, prompts, *rest, **named)
            self._scored = values, prompts
            return values

        def generate_and_score(*arguments: Any, **named: Any) -> Any:
            output = generate(*arguments, **named)
            if self.trainer.model.training and self._scored is not None:
                started = time.perf_counter()
                self._take(output, *self._scored)
                self.spent += time.perf_counter() - started
                self._report()
            self._scored = None
            return output

        self.trainer._calculate_rewards = calculate_rewards
        self.trainer._generate_and_score_completions = generate_and_score

    def _take(self, output: Any, values: Any, prompts: Any) -> None:
        """One generation: all processes' rewards by function [row, function], this process's prompts and tokens."""
        size = self.trainer.num_generations
        weights = self.trainer.reward_weights.to(values.device)
        rewards = as_numpy((values * weights).nansum(1))  # [row]
        rewards[as_numpy(values.isnan().all(1)).astype(bool)] = np.nan  # TRL leaves such rows out as well
        groups = rewards.reshape(-1, size)
        named = (
            prompts[::size] if len(prompts) == len(rewards) else ()
        )  # of one process only: no names for all
        self.monitor.rewards(groups, named)
        trained, engine = (output.get(f"{name}_per_token_logps") for name in ("old", "sampling"))
        if trained is not None and engine is not None:
            self.monitor.log_ratios(as_numpy(trained), as_numpy(engine), as_numpy(output["completion_mask"]))
        self._generations += 1
        if self._is_due():
            self._looked = self._generations
            first = self.trainer.accelerator.process_index * len(prompts) // size
            self._look(output, groups[first : first + len(prompts) // size])

    def _is_due(self) -> bool:
        """Whether enough generations have passed, and time enough for what the last look took."""
        if not self.score_every or self._generations - self._looked < self.score_every:
            return False
        elapsed = time.perf_counter() - self._started
        return self.spent + self._cost <= self.overhead * elapsed

    def _look(self, output: Any, groups: np.ndarray) -> None:
        """Record the scores of this process's rollouts, at the weights that drew them."""
        import gradvar.torch as gvt

        started, size = time.perf_counter(), groups.shape[1]
        kept = np.flatnonzero(np.isfinite(groups).all(1))[: self.prompts]  # [prompt]
        rows = (kept[:, None] * size + np.arange(size)).reshape(-1)  # [row]
        names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
        tokens, allowed, written, counted = (as_numpy(output[name])[rows] for name in names)
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        try:
            rollouts = gvt.as_rollouts(tokens, written, prompt_mask=allowed, mask=counted, group=size)
            settings = gvt.TorchSettings(temperature=self.trainer.temperature)
            only = self.only or last_parameters(model)
            self.monitor.scores(gvt.record(model, rollouts, groups[kept], only=only, settings=settings))
        except (ValueError, RuntimeError, ImportError) as error:  # training goes on
            LOGGER.warning("gradvar: no look at the gradient from here on: %s", str(error).splitlines()[0])
            self.score_every = 0
        self._cost = time.perf_counter() - started
        direction = self.monitor.direction()
        if direction != self._direction:
            self._direction = direction
            LOGGER.warning("gradvar: %s", self.monitor.advice())

    def _report(self) -> None:
        """Add the numbers to those that the trainer logs next."""
        numbers = self.monitor.metrics()
        elapsed = time.perf_counter() - self._started
        numbers[f"{self.monitor.prefix}overhead"] = self.spent / elapsed if elapsed else 0.0
        for name, value in numbers.items():
            self.trainer._metrics["train"][name].append(value)


def last_parameters(model: Any) -> str:
    """A pattern of the parameters that are looked at: the adapter's, else those of the last numbered layer."""
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if any("lora_" in name for name in names):
        return "lora_"
    numbers = [int(match[1]) for name in names if (match := _LAYER.search(name))]
    if not numbers:
        raise ValueError(
            "only: no adapter and no numbered layer among the parameters; give a pattern of names"
        )
    return rf"^\D*\.{max(numbers)}\."
