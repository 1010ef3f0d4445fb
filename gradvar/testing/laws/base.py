"""A law: a name from ``names.LAWS``, the examples to try it on, the check, and the targets it applies to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis.strategies import SearchStrategy

from gradvar.testing.digits import apart, sides
from gradvar.testing.names import LAWS
from gradvar.testing.targets import AdvantageTarget

Example = dict[str, Any]

# A residue of size c in every advantage of an all-equal group is a constant baseline error: on policy its
# gradient has mean zero, and it adds c^2 times the variance of a mixed group (advantages of order one).
# Up to c = 1/4 that is at most a sixteenth of the noise that the optimiser lives with in any case.
# In float32, with rewards up to one, rounding over an epsilon of 1e-6 leaves at most 0.18 (thirteen equal
# rewards); over 1e-8 it leaves 6 to 18. The line lies between the two, and far from both.
NOTICEABLE = 0.25
# Noise that comes out as more than half of what a mixed group gets is noise that is trained on.
ORDER_ONE = 0.5


class Broken(AssertionError):
    """The law does not hold on this example; the message says what came out and what was expected."""


class Residue(Exception):
    """The law holds, with a remark for the report; the remark of the largest ``size`` is reported."""

    def __init__(self, message: str, size: float = 0.0) -> None:
        super().__init__(message)
        self.size = size


@dataclass(frozen=True)
class Law:
    """A property of estimators, with the examples that may break it.

    ``examples(target)`` is a Hypothesis strategy of keyword arguments for ``check(target, **example)``, which
    raises ``Broken``. ``applies(target)`` returns "" or the reason why the law does not apply. A function
    that breaks a ``universal`` law has an error. An ``exact`` law is decided by enumeration and has one example. If
    ``asked(target)``, a setting of the target requests the law, which then counts as a universal one does.
    ``options`` are those of ``gradvar check`` that ask for it, where its name does not.
    ``excused(target)`` is the reason why a function of a recognised kind need not obey the law, or ""; it is not
    asked where somebody declares the law.
    """

    name: str
    check: Callable[..., None]
    examples: Callable[[Any], SearchStrategy[Example]]
    applies: Callable[[Any], str] = lambda target: ""
    universal: bool = False
    exact: bool = False
    asked: Callable[[Any], bool] = lambda target: False
    excused: Callable[[Any], str] = lambda target: ""
    options: str = ""

    @property
    def statement(self) -> str:
        """The law in one sentence."""
        return LAWS[self.name]

    @property
    def story(self) -> str:
        """Why it matters, what breaking it does to training, and a real report."""
        return (self.check.__doc__ or "").strip()


def tolerance(target: Any) -> float:
    """The error that rounding may cause in an algebraic identity, in the library's widest dtype."""
    return 1e-6 if target.library.wide == "float64" else 1e-3


def close(target: AdvantageTarget, values: np.ndarray, other: np.ndarray, slack: float = 1.0) -> bool:
    """Return True if the arrays are equal up to rounding; NaN equals NaN.

    Args:
        target: The target, whose library's widest dtype sets the tolerance.
        values: Advantages of any shape.
        other: Advantages of the same shape.
        slack: A factor of the tolerance, which is relative to the largest entry if that exceeds one.
    """
    values, other = np.asarray(values, float), np.asarray(other, float)
    finite = np.abs(np.concatenate([values.ravel(), other.ravel()]))
    scale = max(1.0, float(np.max(finite[np.isfinite(finite)], initial=0.0)))
    return bool(np.allclose(values, other, rtol=0.0, atol=slack * tolerance(target) * scale, equal_nan=True))


def expect(condition: bool, message: str) -> None:
    """Raise ``Broken`` with the message unless the condition holds."""
    if not condition:
        raise Broken(message)


def expect_pair(condition: bool, values: Any, others: Any, message: str) -> None:
    """Raise ``Broken`` unless the condition holds, with both answers to the digit in which they differ.

    Args:
        condition: What should hold of the two.
        values: A number or an array.
        others: Another one of the same shape.
        message: The message, with ``{}`` twice: where the first goes, and the second.
    """
    if not condition:
        one, two = (apart if np.ndim(values) == 0 else sides)(values, others)
        raise Broken(message.replace("{}", one, 1).replace("{}", two, 1))
