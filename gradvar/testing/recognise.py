"""Find out how a function is called, by trying the layouts, libraries, identities and masks that may fit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradvar.testing.arrays import Library, candidates, library, unwrapped
from gradvar.testing.calls import BadOutput, Raised, SquareOutput
from gradvar.testing.forms import UnknownEntry
from gradvar.testing.losses import LossBatch, LossTarget
from gradvar.testing.missing import REMARK, none_is_read, plain_lists
from gradvar.testing.signatures import Signature, SignatureError, inspect_signature
from gradvar.testing.targets import AdvantageTarget, Groups, candidate_outputs, row_values


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
    if signature is None and inspected.kind == "num-generations" and not inspected.own_count:
        # a count with a default (k=4) may be a setting: then the rewards are those of a group, or of several
        readings.append(replace(inspect_signature(function, "grouped", arguments), kind=""))
    readings = [reading for first in readings for reading in _container_forms(first)]
    names = [library_name] if library_name else candidates(function)
    name = settings.pop("name", None) or getattr(unwrapped(function), "__name__", "target")
    reasons: list[str] = []
    flawed: AdvantageTarget | None = None
    for reading, lib in itertools.product(readings, names):
        for kind in _kinds(reading.kind, signature):
            for ids_as, mask_as in itertools.product(id_forms(function, reading, lib), _mask_forms(reading)):
                target = AdvantageTarget(
                    function,
                    replace(reading, kind=kind, fields={}),
                    _restricted(library(lib), dtypes),
                    name,
                    ids_as=ids_as,
                    mask_as=mask_as,
                    **settings,
                )
                try:
                    _probe(target)
                except SquareOutput as error:
                    target.flaw = str(error)
                    flawed = flawed or target
                    continue
                except (Raised, BadOutput) as error:
                    reasons.append(_reason(error, f"{kind} with {lib}"))
                    continue
                target.calls.clear()
                _choose_output(target)
                _note_precision(target)
                _choose_missing(target)
                return target if reading.kind else _tried(target)
    if flawed:
        return flawed
    raise SignatureError(_nothing_worked(name, reasons))


def _container_forms(signature: Signature) -> list[Signature]:
    """The signature, and others in which one argument without arrays is a list of rows or a batch."""
    forms = [signature]
    loose = [n for n, (form, _) in signature.containers.items() if form in ("batch", "rows")]
    for name in loose:
        form, annotation = signature.containers[name]
        other = "rows" if form == "batch" else "batch"
        forms.append(replace(signature, containers={**signature.containers, name: (other, annotation)}))
    return forms


def _reason(error: Exception, how: str) -> str:
    """Why a trial failed; what the function reads and the kit does not know comes without the trial's layout."""
    cause = getattr(error, "cause", None)
    return str(cause) if isinstance(cause, UnknownEntry) else f"{how}: {error}"


def _choose_output(target: AdvantageTarget) -> None:
    """Take the output that is called advantages, else the first that depends on the other rollouts of a group."""
    if target.output:
        return
    probe = [[1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 1.0, 3.0]]
    moved = [[1.0, 0.0, 0.0, 3.0], [0.0, 1.0, 1.0, 3.0]]
    names = _outputs(target, probe)
    if len(names) < 2:
        return
    chosen = names[0]
    if not chosen.lower().startswith("adv"):
        for name in names:
            twin = replace(target, output=name)
            if not np.allclose(twin(probe)[0][:3], twin(moved)[0][:3], equal_nan=True):
                chosen = name
                break
    target.calls.clear()
    target.output = chosen
    target.remark = (
        f"of its outputs {', '.join(names)}, '{chosen}' is read as the advantages (--output chooses)"
    )


def _outputs(target: AdvantageTarget, groups: Groups) -> list[str]:
    values = {"rewards": np.asarray(groups)} if target.kind == "grouped" else row_values(groups)
    if target.kind == "group":
        values = {"rewards": np.asarray(groups[0])}
    result = target.caller(values)
    tokens = values["mask"].shape if target.by_token else np.shape(values["rewards"])
    return candidate_outputs(result, np.shape(values["rewards"]), tokens)


def _choose_missing(target: AdvantageTarget) -> None:
    """A function of lists that takes None for a missing reward, and not NaN, is given None."""
    rest = (2.0,) * max(target.min_group - 3, 0)

    def answers(chosen: Library) -> np.ndarray | None:
        try:
            group = replace(target, library=chosen)([(1.0, 0.0, np.nan, 0.5, *rest)])[0]
        except (Raised, BadOutput):
            return None
        return np.delete(group, 2)

    if none_is_read(target.function, target.library, answers):
        target.library = plain_lists(target.library)
        target.remark = "; ".join(filter(None, (target.remark, REMARK)))
    target.calls.clear()


def _note_precision(target: AdvantageTarget) -> None:
    """A function that computes in single precision whatever it is given is held to single precision."""
    if target.library.wide != "float64" or target.library.name not in ("list", "torch"):
        return
    size = max(target.min_group, 3)
    answer = np.concatenate(target([[0.1, 0.7, 0.4, 0.9, 0.3][:size] + [0.2] * (size - 5)] * 2))
    target.calls.clear()
    finite = answer[np.isfinite(answer)]
    with np.errstate(over="ignore"):
        single = bool(np.any(finite != 0)) and bool(np.all(finite == finite.astype(np.float32)))
    if single:
        halves = target.library.halves
        floats = tuple(d for d in target.library.floats if d != "float64") or ("float32",)
        target.library = replace(target.library, wide="float32", floats=floats, halves=halves)


def _kinds(kind: str, signature: str | None) -> Sequence[str]:
    """The layouts to try: the user's; else both, the one read first, since a docstring may mislead."""
    if signature is not None or kind not in ("", "group", "grouped"):
        return [kind]
    return ("grouped", "group") if kind == "grouped" else ("group", "grouped")


def _nothing_worked(name: str, reasons: Sequence[str]) -> str:
    why = reasons[0] if reasons else "no library"
    if why.startswith("target: cannot tell"):
        return why
    how, _, happened = why.partition(": ")
    if not happened:
        return f"target: no way of calling {name} worked ({why}); fix it, or say --signature or --arguments"
    return f"target: {name} {happened} on a plain batch ({how}); fix it, or say --signature or --arguments"


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


def id_forms(function: Callable[..., Any], inspected: Signature, lib: str) -> list[str]:
    """The forms in which the labels of groups may be taken, the likeliest first: "" (native), numpy, object."""
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
    reasons: list[str] = []
    coupled, fallback, square, reduced = None, None, None, False
    for lib in [library_name] if library_name else [n for n in candidates(function) if n != "list"]:
        forms = itertools.product(
            _container_forms(inspected), (False, True), _mask_forms(inspected), ("NT", "N", "N1")
        )
        for reading, packed, mask_as, shape in forms:
            target = LossTarget(
                function,
                replace(reading, fields={}),
                library(lib),
                name,
                advantage_shape=shape,
                mask_as=mask_as,
                packed=packed,
                **settings,
            )
            if packed and (fallback or reduced or square or shape != "NT"):
                continue
            try:
                moved = _moved_rows(target)
            except (Raised, TypeError, ValueError) as error:
                reasons.append(_reason(error, lib))
                reduced = reduced or isinstance(error, TypeError)  # it takes rows, and returns no loss
                square = square or (None if packed else _square(target, str(error)))
                continue
            finally:
                target.calls.clear()
            if moved == {1}:
                return _noted(target)
            if 1 in moved or len(moved) == 1:  # another row than its own: a fault that the laws name
                coupled = coupled or target
            fallback = fallback or target
    # what takes [N, T] or [N] for any numbers of rollouts and tokens has no flaw in its shapes
    plain = fallback if fallback and fallback.advantage_shape != "N1" else None
    chosen = coupled or plain or square or fallback
    if chosen:
        return _noted(chosen)
    raise SignatureError(_nothing_worked(name, reasons))


def _noted(target: LossTarget) -> LossTarget:
    """The target with a remark on how its result is read."""
    remarks = [target.signature.note]
    if target.per_token:
        remarks.append("it returns a loss for each token: summed over the real tokens, as a caller would")
    if target.packed:
        remarks.append("its arrays are packed: all tokens in one row")
    remarks += [
        f"{name} is not known, and taken as 1" for name, role in target.signature.fields.items() if not role
    ]
    target.signature = replace(target.signature, note="; ".join(filter(None, remarks)))
    return target


def _square(target: LossTarget, error: str) -> LossTarget | None:
    """The target, where the loss works only if the batch has as many rollouts as tokens."""
    logp = -1.0 - np.arange(16.0).reshape(4, 4) / 40
    try:
        target.weights(LossBatch(logp, logp, np.ones(4), np.ones((4, 4), bool)))
    except (Raised, TypeError, ValueError):
        return None
    target.flaw = f"it works only where there are as many rollouts as tokens: [B] meets [B, T] ({error})"
    return target


def _moved_rows(target: LossTarget) -> set[int]:
    """The rows whose weights the second row's advantage changes; without the second unless it changes most.

    In a loss with a statistic of the batch, such as normalised advantages, other rows change too, but less. Where
    [B] was broadcast against [B, 1], all rows change alike.
    """
    logp = -1.0 - np.arange(20.0).reshape(4, 5) / 40
    still = LossBatch(logp, logp, np.zeros(4), np.ones((4, 5), bool))
    single = LossBatch(logp, logp, np.array([0.0, 1.0, 0.0, 0.0]), np.ones((4, 5), bool))
    change = np.abs(target.weights(single)[1] - target.weights(still)[1]).max(axis=1)
    rows = {int(row) for row in np.flatnonzero(change > 1e-9)}
    if rows == {1} or not rows:
        return rows
    largest = change[1] > 1.5 * np.delete(change, 1).max()
    return rows | {1} if largest else rows - {1}
