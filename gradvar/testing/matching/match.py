"""Is a function the estimator that it is called by? Compared with the oracle on everything that is drawn.

    def test_mine():
        assert matches("grpo", ddof=1)(my_advantages)

A match is a law: ``advantage_laws(f, is_=matches("grpo", ddof=1))`` tests it beside the others, and ``gradvar check
f.py:f --is grpo --setting ddof=1`` does so on the command line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradvar.testing.laws.base import Law
from gradvar.testing.losses import LossTarget
from gradvar.testing.matching.advantage import advantage_law
from gradvar.testing.matching.loss import loss_law
from gradvar.testing.oracle import Oracle, named
from gradvar.testing.recognise import advantage_target, loss_target
from gradvar.testing.runner import EXAMPLES, check_law
from gradvar.testing.signatures import inspect_signature
from gradvar.testing.targets import AdvantageTarget
from gradvar.testing.verdicts import HOLDS, LawResult

Target = AdvantageTarget | LossTarget


@dataclass(frozen=True)
class MatchVerdict:
    """The outcome of a comparison; true where the function is the estimator."""

    result: LawResult
    oracle: Oracle

    @property
    def ok(self) -> bool:
        """Return True if no drawn example tells the two apart."""
        return self.result.status == HOLDS

    @property
    def example(self) -> Mapping[str, Any] | None:
        """The smallest example on which they differ, or None."""
        return self.result.example

    @property
    def message(self) -> str:
        """Both answers on that example, in one line."""
        return self.result.why

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return f"is {self.oracle}" if self.ok else f"is not {self.oracle}: {self.message}"


@dataclass(frozen=True)
class Match:
    """The claim that a function is a named estimator; call it with the function."""

    oracle: Oracle

    def law(self, *, loss: bool) -> Law:
        """The claim as a law of losses or of advantages.

        Raises ``ValueError`` where the estimator has no advantages that a function of rewards could have.
        """
        if not loss and self.oracle.refusal:
            raise ValueError(self.oracle.refusal)
        law = loss_law(self.oracle) if loss else advantage_law(self.oracle)
        settings = " ".join(f"{k}={json.dumps(v)}" for k, v in self.oracle.given.items()).replace('"', "")
        return replace(law, options=f"--is {self.oracle.name}{' --setting ' + settings if settings else ''}")

    def __call__(
        self, function: Callable[..., Any] | Target, *, examples: int = EXAMPLES, **settings: Any
    ) -> MatchVerdict:
        """Compare the function with the oracle.

        Args:
            function: An advantage function or a loss, or its target.
            examples: Examples to try.
            settings: Further settings of ``advantage_target`` or ``loss_target``.

        Raises:
            ValueError: The signature is not understood, or the estimator has no advantages to compare with.
        """
        target = target_of(function, **settings)
        law = self.law(loss=isinstance(target, LossTarget))
        return MatchVerdict(check_law(law, target, True, examples=examples), self.oracle)


def matches(name: str, **settings: Any) -> Match:
    """The claim that a function is the named estimator, with settings as in the catalogue.

    Raises ``ValueError`` on an unknown name, setting or value.

    >>> import numpy as np
    >>> def mine(rewards, group_ids):
    ...     out = np.zeros(len(rewards))
    ...     for g in set(group_ids.tolist()):
    ...         out[group_ids == g] = rewards[group_ids == g] - np.mean(rewards[group_ids == g])
    ...     return out
    >>> matches("dr_grpo")(mine)
    is dr_grpo
    >>> bool(matches("rloo")(mine))
    False
    """
    return Match(named(name, **settings))


def target_of(function: Callable[..., Any] | Target, **settings: Any) -> Target:
    """The target of a function; a loss is one whose parameters have log-probabilities among them."""
    if isinstance(function, AdvantageTarget | LossTarget):
        return function
    kind = settings.get("signature") or inspect_signature(function, None, settings.get("arguments")).kind
    if kind == "loss":
        return loss_target(function, **{k: v for k, v in settings.items() if k != "signature"})
    return advantage_target(function, **settings)


def parsed(settings: Sequence[str]) -> dict[str, Any]:
    """Settings written NAME=VALUE: numbers, true and false, none, lists in brackets; else text.

    >>> parsed(["ddof=1", "eps=1e-4", "dual=none", "over=tokens"])
    {'ddof': 1, 'eps': 0.0001, 'dual': None, 'over': 'tokens'}
    """
    values: dict[str, Any] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"--setting: '{text}'; give NAME=VALUE, such as ddof=1")
        try:
            values[name] = json.loads({"none": "null"}.get(value.lower(), value.lower()))
        except json.JSONDecodeError:
            values[name] = value
    return values
