"""The roles of a function's parameters, and the target of a kind: library, mask and layout by trial."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from gradvar.testing.arrays import candidates, library, unwrapped
from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.kinds.base import Kind, KindTarget, find_form
from gradvar.testing.kinds.calling import KindCaller
from gradvar.testing.recognise import id_forms
from gradvar.testing.roles import role_of
from gradvar.testing.signatures import Signature, SignatureError


def roles_of(function: Callable[..., Any], fixed: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The role of each named parameter that is not fixed, "" where none is known or another has it.

    Functions without a signature, classes and functions that name no parameters have no roles.
    """
    if isinstance(function, type):
        return {}
    try:
        every = list(inspect.signature(getattr(function, "forward", function)).parameters.values())
    except (TypeError, ValueError):
        return {}
    roles: dict[str, str] = {}
    for p in every:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.name in (fixed or {}):
            continue
        role = role_of(p.name)
        roles[p.name] = "" if role in roles.values() else role
    return roles


def required(function: Callable[..., Any]) -> list[str]:
    """The names of the parameters without a default."""
    parameters = inspect.signature(getattr(function, "forward", function)).parameters.values()
    return [
        p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def signature_of(
    function: Callable[..., Any], kind: Kind, fixed: Mapping[str, Any], roles: Mapping[str, str]
) -> Signature:
    """The signature of a function of this kind.

    Args:
        function: The function under test.
        kind: Its kind.
        fixed: Values of further parameters.
        roles: The role of each parameter.

    Raises:
        SignatureError: A required parameter is not understood.
    """
    missing = [n for n in required(function) if not roles.get(n) and n not in fixed]
    if missing:
        name = getattr(function, "__name__", "the function")
        raise SignatureError(
            f"target: {name} is read as {kind.name}, and cannot tell what '{missing[0]}' is; "
            "wrap the function, or give the value with --arguments"
        )
    parameters = inspect.signature(getattr(function, "forward", function)).parameters.values()
    positional = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY)
    return Signature(kind.name, {n: r for n, r in roles.items() if r}, positional, fixed)


def kind_target(
    function: Callable[..., Any],
    kind: Kind,
    *,
    roles: Mapping[str, str] | None = None,
    arguments: Mapping[str, Any] | None = None,
    library_name: str | None = None,
    intended: str = "",
    origin: str = "",
) -> KindTarget:
    """The function as one of this kind; trials find its library, the form of its mask, its layout and known form.

    Args:
        function: The function under test.
        kind: Its kind.
        roles: The role of each parameter; default: read from their names.
        arguments: Values of further parameters.
        library_name: numpy, torch, jax or list; default: by trial.
        intended: The name of the known form that it should be; default: any.
        origin: Where the function comes from.

    Raises:
        SignatureError: A parameter is not understood, or no way of calling the function works.
    """
    fixed = dict(arguments or {})
    named_roles = roles if roles is not None else roles_of(function, fixed)
    readings = [signature_of(function, kind, fixed, r) for r in kind.readings(named_roles)]
    name = getattr(unwrapped(function), "__name__", "target")
    reasons: list[str] = []
    fallback: KindTarget | None = None
    libraries = [library_name] if library_name else candidates(function)
    masked = any({"mask", "dones", "truncated"} & set(r.roles.values()) for r in readings)
    flags = ("float", "bool") if masked else ("float",)
    ways = itertools.product(libraries, readings, flags)
    for lib, signature, mask_as, labels_as in (
        (*way, labels) for way in ways for labels in id_forms(function, way[1], way[0])
    ):
        caller = KindCaller(function, signature, library(lib), name, origin, labels_as, mask_as)
        target = KindTarget(kind, caller, intended)
        try:
            find_form(target)
        except (Raised, BadOutput, TypeError, ValueError) as error:
            reasons.append(f"with {lib}: {error}")
            continue
        target.calls.clear()
        target.kind.settle(target)
        if target.form is not None:
            return target
        fallback = fallback or target
    if fallback is None:
        why = reasons[0] if reasons else "no library"
        raise SignatureError(
            f"target: no way of calling {name} as {kind.name} worked ({why}); fix it, or say --arguments"
        )
    return fallback
