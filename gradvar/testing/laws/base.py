"""What a law is: a name from ``names.LAWS``, the examples to try it on, the check, and where it applies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis.strategies import SearchStrategy

from gradvar.testing.names import LAWS
from gradvar.testing.targets import AdvantageTarget

Example = dict[str, Any]

# A residue of size c in every advantage of an all-equal group is a constant baseline error: on policy its
# gradient has mean zero, and it adds c^2 times the variance that a mixed group (advantages of order one)
# brings
# by itself. Up to c = 1/4 that is at most a sixteenth of the noise that the optimiser lives with in any case.
# In float32, with rewards up to one, rounding over an epsilon of 1e-6 leaves at most 0.18 (thirteen equal
# rewards); over 1e-8 it leaves 6 to 18. The line lies between the two, and far from both.
NOTICEABLE = 0.25
# Noise that comes out as more than half of what a mixed group gets is noise that is trained on.
ORDER_ONE = 0.5


class Broken(AssertionError):
    """The law does not hold on this example; the message says what came out and what was expected."""


class Residue(Exception):
    """The law holds but for something that is worth a line in the report; of several the one of largest
    ``size``."""

    def __init__(self, message: str, size: float = 0.0) -> None:
        super().__init__(message)
        self.size = size


@dataclass(frozen=True)
class Law:
    """``examples(target)`` is a Hypothesis strategy of keyword arguments for ``check(target, **example)``,
    which raises ``Broken``. ``applies(target)`` returns "" or the reason why not. ``exact`` laws are
    decided by enumeration and have one example. ``universal``: what every sane estimator obeys.
    ``asked(target)``: a setting of the target asks for the law, which then counts as a universal one does."""

    name: str
    check: Callable[..., None]
    examples: Callable[[Any], SearchStrategy[Example]]
    applies: Callable[[Any], str] = lambda target: ""
    universal: bool = False
    exact: bool = False
    asked: Callable[[Any], bool] = lambda target: False

    @property
    def statement(self) -> str:
        """The law in one sentence."""
        return LAWS[self.name]

    @property
    def story(self) -> str:
        """Why it matters, what breaking it does to training, and a real report."""
        return (self.check.__doc__ or "").strip()


def tolerance(target: Any) -> float:
    """What rounding may do to an algebraic identity in the library's widest dtype."""
    return 1e-6 if target.library.wide == "float64" else 1e-3


def close(target: AdvantageTarget, one: np.ndarray, other: np.ndarray, slack: float = 1.0) -> bool:
    """Equal up to rounding, relative to the larger of one and the biggest entry; NaN equals NaN."""
    one, other = np.asarray(one, float), np.asarray(other, float)
    finite = np.abs(np.concatenate([one.ravel(), other.ravel()]))
    scale = max(1.0, float(np.max(finite[np.isfinite(finite)], initial=0.0)))
    return bool(np.allclose(one, other, rtol=0.0, atol=slack * tolerance(target) * scale, equal_nan=True))


def shown(values: Any, digits: int = 4) -> str:
    """An array or a list of arrays in one line."""
    if isinstance(values, list | tuple) and values and np.ndim(values[0]) > 0:
        return "[" + ", ".join(shown(v, digits) for v in values) + "]"
    return "[" + ", ".join(f"{float(v) + 0.0:.{digits}g}" for v in np.ravel(values)) + "]"


def expect(condition: bool, message: str) -> None:
    """Raise ``Broken`` with the message unless the condition holds."""
    if not condition:
        raise Broken(message)
