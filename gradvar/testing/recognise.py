"""Find out how a function is called, by trying the layouts, libraries, identities and masks that may fit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradvar.testing.arrays import Library, candidates, library, unwrapped
from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.signatures import Signature, SignatureError, inspect_signature
from gradvar.testing.targets import AdvantageTarget, LossBatch, LossTarget


def advantage_target(
    function: Callable[..., Any],
    *,
    signature: str | None = None,
    library_name: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    dtypes: Sequence[str] = (),
    **settings: Any,
) -> AdvantageTarget:
    """Return the target for an advantage function; trials find its library and any setting not given.

    Args:
        function: The advantage function.
        signature: The layout of its arguments, one of ``signatures.KINDS``; default: by trial.
        library_name: numpy, torch, jax or list; default: by trial.
        arguments: Values of further parameters.
        dtypes: The floating dtypes of the rewards that it is meant for; default: those that users of its
            library pass.
        settings: Further fields of ``AdvantageTarget``: name, origin, domain, min_group, epsilon.

    Raises:
        SignatureError: No way of calling the function works; the message says why.
    """
    inspected = inspect_signature(function, signature, arguments)
    readings = [inspected]
    if signature is None and inspected.kind == "num-generations":
        # a count with a default (k=4) may be a setting: then the rewards are those of a group, or of several
        readings.append(replace(inspect_signature(function, "grouped", arguments), kind=""))
    names = [library_name] if library_name else candidates(function)
    name = settings.pop("name", None) or getattr(unwrapped(function), "__name__", "target")
    reasons = []
    for reading, lib in itertools.product(readings, names):
        for kind in _kinds(reading.kind, signature):
            for ids_as, mask_as in itertools.product(_id_forms(function, reading, lib), _mask_forms(reading)):
                target = AdvantageTarget(
                    function,
                    replace(reading, kind=kind),
                    _restricted(library(lib), dtypes),
                    name,
                    ids_as=ids_as,
                    mask_as=mask_as,
                    **settings,
                )
                try:
                    _probe(target)
                except (Raised, BadOutput) as error:
                    reasons.append(f"{kind} with {lib}: {error}")
                    continue
                target.calls.clear()
                return target if reading.kind else _tried(target)
    raise SignatureError(_nothing_worked(name, reasons))


def _kinds(kind: str, signature: str | None) -> Sequence[str]:
    """The layouts to try: the user's; else both, the one read first, since a docstring may mislead."""
    if signature is not None or kind not in ("", "group", "grouped"):
        return [kind]
    return ("grouped", "group") if kind == "grouped" else ("group", "grouped")


def _nothing_worked(name: str, reasons: Sequence[str]) -> str:
    why = reasons[0] if reasons else "no library"
    return f"target: no way of calling {name} worked ({why}); mend it, or say --signature or --arguments"


def _restricted(lib: Library, dtypes: Sequence[str]) -> Library:
    """The library with no other dtypes than these."""
    if not dtypes:
        return lib
    known = {*lib.floats, *lib.halves}
    unknown = [d for d in dtypes if d not in known]
    if unknown:
        raise SignatureError(
            f"dtypes: '{unknown[0]}' is unknown; {lib.name} has {', '.join(sorted(known)) or 'none'}"
        )
    floats = tuple(d for d in lib.floats if d in dtypes)
    halves = tuple(d for d in lib.halves if d in dtypes)
    return replace(lib, wide=floats[0] if floats else lib.wide, floats=floats or (lib.wide,), halves=halves)


def _tried(target: AdvantageTarget) -> AdvantageTarget:
    """Try both readings of one argument whose axes are not described; where they agree, take the batched one.

    The batched reading tests more.
    """
    sig = target.signature
    batched = AdvantageTarget(
        target.function, Signature("grouped", sig.roles, sig.positional, sig.fixed), target.library,
        target.name,
        target.origin, target.domain, target.min_group, target.epsilon,
    )  # fmt: skip
    rows = [[0.0, 1.0, 0.0], [1.0, 1.0, 3.0]]
    try:
        together, alone = batched(rows), target(rows)
    except (Raised, BadOutput):
        return target
    finally:
        target.calls.clear()
        batched.calls.clear()
    # a loop over rows, read on one group, sees rollouts as groups of one: zeros wherever it looks
    if np.allclose(together, alone, equal_nan=True) or not np.any(alone):
        return batched
    note = "read as f(rewards[G]); given [Q, G] it mixes the prompts: --signature grouped checks that reading"
    target.signature = Signature("group", sig.roles, sig.positional, sig.fixed, note)
    return target


def _id_forms(function: Callable[..., Any], inspected: Signature, lib: str) -> list[str]:
    if not (inspected.takes("ids") or inspected.takes("prompts")):
        return [""]
    annotations = getattr(unwrapped(function), "__annotations__", {})
    annotated = " ".join(
        str(annotations.get(n, "")) for n, r in inspected.roles.items() if r in ("ids", "prompts")
    )
    names = [n.lower() for n, r in inspected.roles.items() if r in ("ids", "prompts")]
    strings = "str" in annotated or any(n in ("uid", "uids", "index") for n in names)
    if "ndarray" in annotated or (strings and lib == "torch"):
        return ["object", "numpy", ""]
    return ["object", "numpy", ""] if "str" in annotated else ["", "numpy", "object"]


def _mask_forms(inspected: Signature) -> tuple[str, ...]:
    return ("float", "bool") if inspected.takes("mask") else ("float",)


def _probe(target: AdvantageTarget) -> None:
    """Call the target once on plain groups."""
    size = max(target.min_group, 4)
    target(
        [
            [1.0] + [0.0] * (size - 1),
            [0.0] + [1.0] * (size - 1),
            [1.0, 0.0] * (size // 2) + [1.0] * (size % 2),
        ]
    )


def loss_target(
    function: Callable[..., Any],
    *,
    library_name: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    **settings: Any,
) -> LossTarget:
    """Return the target for a loss; trials find its library and the shape of its advantages.

    With the right shape, the advantage of one rollout changes only that rollout's weights.

    Args:
        function: The loss.
        library_name: numpy, torch or jax; default: by trial.
        arguments: Values of further parameters.
        settings: Further fields of ``LossTarget``: name, origin, sign, aggregation.

    Raises:
        SignatureError: No way of calling the loss works; the message says why.
    """
    inspected = inspect_signature(function, "loss", arguments)
    name = settings.pop("name", None) or getattr(unwrapped(function), "__name__", "target")
    reasons, fallback = [], None
    for lib in [library_name] if library_name else [n for n in candidates(function) if n != "list"]:
        for mask_as, shape in itertools.product(_mask_forms(inspected), ("NT", "N", "N1")):
            target = LossTarget(
                function, inspected, library(lib), name, advantage_shape=shape, mask_as=mask_as, **settings
            )
            try:
                moved = _moved_rows(target)
            except (Raised, TypeError, ValueError) as error:
                reasons.append(f"{lib}: {error}")
                continue
            finally:
                target.calls.clear()
            if moved == {1}:
                return target
            fallback = fallback or target
    if fallback:
        return fallback
    raise SignatureError(_nothing_worked(name, reasons))


def _moved_rows(target: LossTarget) -> set[int]:
    logp = -1.0 - np.arange(20.0).reshape(4, 5) / 40
    still = LossBatch(logp, logp, np.zeros(4), np.ones((4, 5), bool))
    single = LossBatch(logp, logp, np.array([0.0, 1.0, 0.0, 0.0]), np.ones((4, 5), bool))
    change = target.weights(single)[1] - target.weights(still)[1]
    return {int(row) for row in np.flatnonzero(np.abs(change).max(axis=1) > 1e-9)}
