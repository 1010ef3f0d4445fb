"""Recognise a function's kind by the roles of its parameters, and check it by the laws of the kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from gradvar.testing.backends import one_thread
from gradvar.testing.kinds.aggregate import AGGREGATE
from gradvar.testing.kinds.base import Kind, KindTarget
from gradvar.testing.kinds.correction import CORRECTION
from gradvar.testing.kinds.filters import FILTERS
from gradvar.testing.kinds.gae import GAE
from gradvar.testing.kinds.kl import KL
from gradvar.testing.kinds.kl_reward import KL_REWARD
from gradvar.testing.kinds.matrix import MATRIX
from gradvar.testing.kinds.pairs import PAIRS
from gradvar.testing.kinds.reading import kind_target, roles_of
from gradvar.testing.kinds.selection import SELECTION
from gradvar.testing.kinds.sequence_mask import SEQUENCE_MASK
from gradvar.testing.kinds.shaping import SHAPING
from gradvar.testing.kinds.steps import STEPS
from gradvar.testing.kinds.value_loss import VALUE_LOSS
from gradvar.testing.kinds.words import ENTROPY, LABELLED
from gradvar.testing.runner import EXAMPLES, check
from gradvar.testing.verdicts import CheckReport

KINDS: tuple[Kind, ...] = (
    GAE, VALUE_LOSS, KL, SHAPING, KL_REWARD, SEQUENCE_MASK, CORRECTION, PAIRS, MATRIX, STEPS, FILTERS, LABELLED,
    ENTROPY, AGGREGATE, SELECTION,
)  # fmt: skip


def kind_of(function: Callable[..., Any], fixed: Mapping[str, Any] | None = None) -> Kind | None:
    """The kind of the function by the roles of its parameters; None where it is none of these."""
    roles = frozenset(r for r in roles_of(function, fixed).values() if r)
    with one_thread():
        for kind in KINDS:
            if kind.fits(roles) and kind.confirmed(
                roles, partial(kind_target, function, kind, arguments=fixed)
            ):
                return kind
    return None


def form_names(kind: Kind, target: KindTarget) -> list[str]:
    """The names of the kind's known forms, for ``--is``."""
    return list(dict.fromkeys(f.name for f in kind.forms(target)))


def check_kind(
    function: Callable[..., Any] | KindTarget,
    *,
    kind: Kind | None = None,
    claims: Mapping[str, bool] | None = None,
    laws: Iterable[str] = (),
    except_: Mapping[str, str] | None = None,
    examples: int = EXAMPLES,
    random_seed: int | None = None,
    **settings: Any,
) -> CheckReport:
    """Report which laws of its kind the function obeys.

    Args:
        function: The function, or its target.
        kind: Its kind; default: read from the roles of its parameters.
        claims: Maps laws to True where they should hold, False where they should fail.
        laws: Check only these, which then decide, and those in ``claims``.
        except_: Maps laws that do not decide to the reason why.
        examples: Examples per law.
        random_seed: Draws other examples; default: the same in every run.
        settings: Further settings of ``kind_target``: arguments, library_name, intended, origin.

    Raises:
        ValueError: The kind is not recognised, or a parameter is not understood.
    """
    with one_thread():
        if isinstance(function, KindTarget):
            target = function
        else:
            kind = kind or kind_of(function, settings.get("arguments"))
            if kind is None:
                raise ValueError("target: it is none of the kinds " + ", ".join(k.name for k in KINDS))
            target = kind_target(function, kind, **settings)
        report = check(target, target.kind.laws, claims or {}, laws, examples, random_seed, except_)  # type: ignore[arg-type]
    return CheckReport(report.target, report.results, _note(target))


def _note(target: KindTarget) -> str:
    read = f"read as {target.kind.name}"
    if target.remark:
        read = f"{read} ({target.remark})"
    if target.form is None:
        return f"{read}: {target.kind.sentence}"
    times = "" if abs(target.factor - 1) < 1e-3 else f", times {target.factor:.4g}"
    return f"{read}: {target.form.title}{times}"
