"""What a check decided, one relation at a time, as it can be handed to another judge: a proof kernel.

Each place where a relation passes, or is rejected, notes it with its premises. What is decided on the way to another
decision is not noted: it was that decision's own business.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

Judge = Literal["CAS", "SMT", "floats"]


@dataclass(frozen=True)
class Joined:
    """A Boolean of SymPy, by its kind, with parts in which nothing is evaluated: SymPy drops parts that are true."""

    kind: type
    parts: tuple[Any, ...]

    @property
    def free_symbols(self) -> set[Any]:
        """The symbols in it."""
        return set().union(*(part.free_symbols for part in self.parts))


@dataclass(frozen=True)
class Decided:
    """A conclusion, and if it was decided to follow from premises.

    Args:
        conclusion: a SymPy relation or Boolean, or ``Joined`` ones; None where nothing can be handed on, and
            ``obstacle`` says why.
        premises: relations; the assumptions of the symbols count besides.
        where_defined: it is claimed at points where all terms are defined; else that they are is decided with it.
        judge: who decided it.
        holds: false where it was rejected.
        obstacle: what stands against handing it on, such as a limit that was taken on the way.
    """

    conclusion: Any
    premises: tuple[Any, ...] = ()
    where_defined: bool = False
    judge: Judge = "CAS"
    holds: bool = True
    obstacle: str = ""


_decisions: ContextVar[list[Decided] | None] = ContextVar("decisions", default=None)


@contextmanager
def decisions() -> Iterator[list[Decided]]:
    """Collect what is decided meanwhile; an outer collection does not see it."""
    collected: list[Decided] = []
    token = _decisions.set(collected)
    try:
        yield collected
    finally:
        _decisions.reset(token)


def note_decided(decided: Decided) -> None:
    """Add a decision to those that are collected, if any are."""
    if (collected := _decisions.get()) is not None:
        collected.append(decided)


def note_obstacle(obstacle: str, judge: Judge = "CAS") -> None:
    """Note a decision that cannot be handed on, and why."""
    note_decided(Decided(None, judge=judge, obstacle=obstacle))


@contextmanager
def deciding(
    conclusion: Any,
    premises: Sequence[Any],
    *,
    where_defined: bool,
    obstacle: str = "",
    judge: Judge | None = None,
) -> Iterator[None]:
    """Note a conclusion once the block is through: rejected where that raises ``AssertionError``, else as it ends.

    Args:
        conclusion: a relation or Boolean.
        premises: what it follows from.
        where_defined: whether it is claimed only where its terms are defined.
        obstacle: why it cannot be handed on, if it cannot.
        judge: who decides; left out, z3 where it was asked within the block, else SymPy.
    """
    holds = True
    try:
        with decisions() as inner:
            yield
    except AssertionError:
        holds = False
        raise
    except Exception:
        obstacle = obstacle or "undecided"
        raise
    finally:
        judge = judge or ("SMT" if any(decided.judge == "SMT" for decided in inner) else "CAS")
        kept = None if obstacle else conclusion
        note_decided(Decided(kept, tuple(premises), where_defined, judge, holds, obstacle))
