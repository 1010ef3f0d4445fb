"""Run laws: search with Hypothesis, keep the shrunk example, run it once more, and collect the verdicts.

Deterministic: the same examples in every run; a seed draws others. A law that is declared false must fail on some
example, its witness, which is run once more outside the search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import Any

import numpy as np
from hypothesis.errors import Flaky, Unsatisfiable

from gradvar.testing.backends import one_thread
from gradvar.testing.calls import BadOutput, Raised, silenced, written_down
from gradvar.testing.laws import ADVANTAGE, LOSS, Broken, Law
from gradvar.testing.laws.traits import remarks
from gradvar.testing.losses import LossTarget
from gradvar.testing.names import LAWS as NAMES
from gradvar.testing.names import ORACLE_LAWS
from gradvar.testing.recognise import advantage_target, loss_target
from gradvar.testing.reproduce import command, reproduction
from gradvar.testing.search import Search, search
from gradvar.testing.targets import AdvantageTarget
from gradvar.testing.verdicts import FAILS, HOLDS, OUT, CheckReport, LawResult

EXAMPLES = 60
Target = AdvantageTarget | LossTarget


def check_law(
    law: Law,
    target: Target,
    declared: bool | None = None,
    *,
    examples: int = EXAMPLES,
    random_seed: int | None = None,
) -> LawResult:
    """Decide one law; errors of the function under test become part of the verdict.

    Args:
        law: The law.
        target: The function under test.
        declared: True if the law should hold, False if it should fail, None if nothing is declared.
        examples: Examples to try.
        random_seed: Draws other examples; default: the same in every run.
    """
    about: dict[str, Any] = {"declared": declared, "universal": law.universal, "asked": law.asked(target)}
    reason = law.applies(target) or ("" if declared is not None else law.excused(target))
    if reason:
        return LawResult(law.name, OUT, why=reason, **about)
    seen, count = Search(), 1 if law.exact else examples
    try:
        search(law.examples(target), seen, partial(_broken, law, target), count, random_seed)
    except (Flaky, Unsatisfiable) as error:
        if seen.example is None:
            return LawResult(law.name, OUT, why=f"no examples: {error}", **about)
    if seen.example is None:
        return LawResult(law.name, HOLDS, why=seen.residue, **about)
    # the witness, once more, outside the search
    target.calls.clear()
    with written_down():
        again = _broken(law, target, seen.example)
    calls = list(dict.fromkeys(target.calls))
    why = again or f"{seen.why} (not every time: the function is not deterministic)"
    # what an expectation or a derivative is takes more than a print of the function
    if law.exact or isinstance(target, LossTarget):
        changed = {"seed": random_seed, "examples": None if examples == EXAMPLES else examples}
        line = command(law.name, target, changed, law.options)
    else:
        line = reproduction(target, calls, twice=law.name == "pure")
    return LawResult(law.name, FAILS, example=seen.example, why=why, reproduce=line, **about)


def _broken(law: Law, target: Target, example: Mapping[str, Any]) -> str:
    """The finding on this example, or ""; an error of a framework is a finding too."""
    try:
        with np.errstate(all="ignore"), silenced():
            law.check(target, **example)
    except (Broken, Raised, BadOutput) as failure:
        return str(failure) or type(failure).__name__
    return ""


def check_advantage(
    function: Callable[..., Any] | AdvantageTarget,
    *,
    claims: Mapping[str, bool] | None = None,
    laws: Iterable[str] = (),
    except_: Mapping[str, str] | None = None,
    is_: Any = None,
    examples: int = EXAMPLES,
    random_seed: int | None = None,
    **settings_: Any,
) -> CheckReport:
    """Report which advantage laws the function obeys.

    Args:
        function: The advantage function, or its target.
        claims: Maps laws to True where they should hold, False where they should fail.
        laws: Check only these, which then decide, and those in ``claims``.
        except_: Maps laws that do not decide to the reason why.
        is_: The estimator that it should be: ``matches("grpo", ddof=1)``.
        examples: Examples per law.
        random_seed: Draws other examples; default: the same in every run.
        settings_: Further settings of ``advantage_target``: signature, library_name, arguments, domain,
            min_group, epsilon.

    Raises:
        ValueError: A law is unknown, or the signature is not understood.
    """
    with one_thread():
        target = (
            function if isinstance(function, AdvantageTarget) else advantage_target(function, **settings_)
        )
        catalogue = ADVANTAGE if is_ is None else (is_.law(loss=False), *ADVANTAGE)
        return check(target, catalogue, claims or {}, laws, examples, random_seed, except_)


def check_loss(
    function: Callable[..., Any] | LossTarget,
    *,
    claims: Mapping[str, bool] | None = None,
    laws: Iterable[str] = (),
    except_: Mapping[str, str] | None = None,
    is_: Any = None,
    examples: int = EXAMPLES,
    random_seed: int | None = None,
    **settings_: Any,
) -> CheckReport:
    """Report which loss laws the function obeys.

    Args:
        function: The loss, or its target.
        claims: Maps laws to True where they should hold, False where they should fail.
        laws: Check only these, which then decide, and those in ``claims``.
        except_: Maps laws that do not decide to the reason why.
        is_: The estimator that it should be: ``matches("grpo", ddof=1)``.
        examples: Examples per law.
        random_seed: Draws other examples; default: the same in every run.
        settings_: Further settings of ``loss_target``: library_name, arguments, sign, aggregation.

    Raises:
        ValueError: A law is unknown, or the signature is not understood.
    """
    with one_thread():
        target = function if isinstance(function, LossTarget) else loss_target(function, **settings_)
        catalogue = LOSS if is_ is None else (is_.law(loss=True), *LOSS)
        return check(target, catalogue, claims or {}, laws, examples, random_seed, except_)


def check(
    target: Target,
    catalogue: Sequence[Law],
    claims: Mapping[str, bool],
    laws: Iterable[str],
    examples: int,
    random_seed: int | None,
    except_: Mapping[str, str] | None = None,
) -> CheckReport:
    """Run the laws on a target and collect the report.

    Args:
        target: The function under test.
        catalogue: All laws of its kind.
        claims: Maps laws to True where they should hold, False where they should fail.
        laws: Check only these, which then decide, and those in ``claims``.
        except_: Maps laws that do not decide to the reason why.
        examples: Examples per law.
        random_seed: Draws other examples; default: the same in every run.
        except_: Maps laws that do not decide to the reason why.
    """
    chosen, excepted = set(laws), dict(except_ or {})
    known = {law.name for law in catalogue}
    for name in (*claims, *chosen, *excepted):
        if name not in known:
            near = get_close_matches(name, sorted(known), 2)
            hint = f"did you mean {' or '.join(near)}?" if near else f"one of {', '.join(sorted(known))}"
            hint = "it is a law of the other kind" if name in NAMES else hint
            raise ValueError(f"law: '{name}' is not a law for this target; {hint}")
    if target.flaw:
        line = command("shapes", target, {})
        flaw = LawResult(
            "shapes", FAILS, universal=True, asked=True, why=target.flaw, example={}, reproduce=line
        )
        return CheckReport(target.origin or target.name, (flaw,), target.signature.note)
    for name, reason in excepted.items():
        if not str(reason).strip():
            raise ValueError(f"except: '{name}' has no reason; say why it does not hold")
    results = []
    for law in catalogue:
        if not chosen or law.name in chosen or law.name in claims or law.name in ORACLE_LAWS:
            result = check_law(law, target, claims.get(law.name), examples=examples, random_seed=random_seed)
            if law.name == "pure" and result.status == HOLDS and isinstance(target, LossTarget):
                target.remember()  # one batch, one answer: many laws ask for the same
            asked = result.asked or law.name in chosen
            results.append(replace(result, asked=asked, excepted=excepted.get(law.name, "")))
    return CheckReport(target.origin or target.name, tuple(results), notes(target))


def notes(target: Target) -> str:
    """Remarks on how the function was read, a line each."""
    outputs = target.remark if isinstance(target, AdvantageTarget) else ""
    return "\n".join(filter(None, (target.signature.note, outputs, *remarks(target))))
