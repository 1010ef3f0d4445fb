"""The arguments that a function takes, read from its parameters' names, its annotations and its text.

Kinds of functions:

* ``group``: f(rewards[G])
* ``grouped``: f(rewards[Q, G])
* ``flat``: f(rewards[N], group_ids)
* ``prompt-ids``: the same with the identity of the prompt, which two groups may share
* ``num-generations``: f(rewards[N], G), with groups in contiguous runs
* ``token-level``: f(token_rewards[N, T], mask, index)
* ``loss``: f(logp, old_logp, advantages, mask, ...)

Where a parameter is not understood, a one-line error asks for it.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gradvar.testing.arrays import unwrapped
from gradvar.testing.forms import annotations_of, container_of, entries_in_code, names_in_code
from gradvar.testing.roles import role_of

# A function that takes one of these, and advantages, is a loss.
LOSS_MARKS = frozenset(["logp", "ppo_kl", "log_ratio", "ratio", "logits"])
LOSS_ROLES = (
    *LOSS_MARKS, "old_logp", "ref_logp", "sampler_logp", "advantages", "mask", "second_mask", "labels", "lengths",
    "token_count", "entropy", "positions", "sequence_ids", "sequence_ends", "row_count",
)  # fmt: skip
KINDS = ("group", "grouped", "flat", "prompt-ids", "num-generations", "token-level", "loss")

_TWO_AXES = re.compile(r"[\[(]\s*(Q|P|B|N|\w*prompts?|\w*batch\w*)\s*[,x]\s*\w+\s*[\])]|prompts? group", re.I)
_ONE_AXIS = re.compile(r"[\[(]\s*(G|group|group_size)\s*,?\s*[\])]|[\"'\s]group[\"'](?!\w)|one group")


class SignatureError(ValueError):
    """The function's signature is not understood, or does not fit the kind that was given."""


@dataclass(frozen=True)
class Signature:
    """The arguments that a function takes.

    ``kind`` is one of ``KINDS``; ``roles`` maps a parameter's name to its role; ``fixed`` holds values that
    the user gave; ``note`` is a remark for the report. ``containers`` maps a parameter to its form and its
    annotation (``forms.CONTAINERS``); ``fields`` are the entries that the function has read in them, with their
    roles. Values of ``ragged`` roles are lists of arrays; ``own_count`` is the attribute that holds the group size
    of a method's object.
    """

    kind: str
    roles: Mapping[str, str]
    positional: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    containers: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    ragged: frozenset[str] = frozenset()
    own_count: str = ""

    def takes(self, role: str) -> bool:
        """Return True if some parameter has the role, or an entry of a container that the function has read."""
        return role in self.roles.values() or role in self.fields.values()

    def name_of(self, role: str) -> str:
        """The function's own name for a role: of a parameter, or of an entry of a container; else the role."""
        names = [n for n, r in (*self.roles.items(), *self.fields.items()) if r == role]
        return names[0] if names else role

    def arguments(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments for the values by role."""
        by_name = {name: values[role] for name, role in self.roles.items() if role in values}
        by_name.update(self.fixed)
        positional = [by_name.pop(name) for name in self.positional if name in by_name]
        return positional, by_name


def inspect_signature(
    function: Callable[..., Any], kind: str | None = None, fixed: Mapping[str, Any] | None = None
) -> Signature:
    """Return the signature by inspection; ``kind`` where the user gives it, ``fixed`` further arguments.

    Raises:
        SignatureError: A required parameter is not understood.
    """
    fixed = dict(fixed or {})
    if kind is not None and kind not in KINDS:
        raise SignatureError(f"signature: '{kind}' is unknown; give one of {', '.join(KINDS)}")
    parameters = _parameters(function, fixed)
    annotations = annotations_of(function)
    roles = {p.name: role_of(p.name) for p in parameters}
    containers = {}
    for p in parameters:
        form = container_of(p.name, annotations.get(p.name, ""), roles[p.name])
        if form and (p.default is p.empty or form in ("config", "record")):
            containers[p.name] = (form, annotations.get(p.name, ""))
    loose = _unnamed_batch(function, parameters, roles, set(containers))
    if loose:
        containers[loose] = ("batch", annotations.get(loose, ""))
    plain = [p for p in parameters if p.name not in containers]
    roles = {p.name: roles[p.name] for p in plain}
    inside = _roles_inside(function) if any(f != "config" for f, _ in containers.values()) else set()
    required = [p for p in plain if p.default is p.empty]
    played = set(roles.values()) | inside
    marked = bool(played & LOSS_MARKS) or any(form == "model" for form, _ in containers.values())
    is_loss = kind == "loss" or (
        kind is None and marked and ("advantages" in played or "logp" in roles.values())
    )
    if is_loss:
        roles = _loss_roles(plain, roles)
    elif plain or not containers:
        roles = _advantage_roles(plain, roles, required, kind)
    missing = [p.name for p in required if not roles.get(p.name)]
    if missing:
        raise SignatureError(
            f"target: cannot tell what '{missing[0]}' of {getattr(function, '__name__', 'the function')} is; "
            "wrap the function, say --signature, or give the value with --arguments"
        )
    played = {r for r in roles.values() if r} | (inside if not is_loss else set())
    own_count = "" if is_loss or played & {"ids", "count"} else _own_count(function)
    if own_count:
        played.add("count")
    note = f"its object's {own_count} is set to the group size" if own_count else ""
    if kind is None:
        kind, note = ("loss", "") if is_loss else (_advantage_kind(function, played), note)
    needed = {
        "flat": "ids",
        "prompt-ids": "prompts",
        "num-generations": "count",
        "token-level": "token_rewards",
    }
    if kind in needed and needed[kind] not in played:
        raise SignatureError(
            f"signature: '{kind}' needs an argument for {needed[kind]}, and the function has none"
        )
    positional = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY)
    roles = {n: r for n, r in roles.items() if r}
    ragged = frozenset(r for n, r in roles.items() if _is_list_of_arrays(annotations.get(n, "")))
    return Signature(kind, roles, positional, fixed, note, containers, {}, ragged, own_count)


def _is_list_of_arrays(annotation: Any) -> bool:
    return bool(
        re.search(r"(list|List|Sequence)\[\s*(\S*Tensor|\S*ndarray|\S*Array|list|List)", str(annotation))
    )


def _roles_inside(function: Callable[..., Any]) -> set[str]:
    """The roles of the names that the function's code reads, those of one or two letters left out."""
    return {role_of(name) for name in names_in_code(function)[0] if len(name) > 2} - {""}


def _unnamed_batch(
    function: Callable[..., Any],
    parameters: list[inspect.Parameter],
    roles: Mapping[str, str],
    containers: set[str],
) -> str:
    """The parameter that must hold the arrays, whatever its name; "" where the parameters are the arrays.

    Args:
        function: The function.
        parameters: Its parameters.
        roles: Their roles.
        containers: Parameters whose form is already known.
    """
    unknown = [p.name for p in parameters if p.default is p.empty and not roles[p.name]]
    heads = {"rewards", "token_rewards", "advantages"}
    if not unknown or containers or heads & set(roles.values()):
        return ""
    read = {role_of(name) for name in entries_in_code(function) if len(name) > 2}
    return unknown[0] if read & heads else ""


def _own_count(function: Callable[..., Any]) -> str:
    """The attribute of a method's object that holds its group size, where its code reads it; else "".

    It may stand in a configuration of the object: "args.num_generations".
    """
    owner = getattr(function, "__self__", None)
    if owner is None:
        return ""
    read = names_in_code(function)[0]
    names = sorted(n for n in read if len(n) > 2 and role_of(n) == "count")
    places = [("", owner), *((f"{n}.", getattr(owner, n, None)) for n in sorted(read))]
    for prefix, place in places:
        for n in names:
            value = place.get(n) if isinstance(place, dict) else getattr(place, n, None)
            if isinstance(value, int):
                return prefix + n
    return ""


def _parameters(function: Callable[..., Any], fixed: Mapping[str, Any]) -> list[inspect.Parameter]:
    """The named parameters that are not fixed. Raises ``SignatureError`` where there can be none."""
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    if isinstance(function, type):
        raise SignatureError(f"target: {name} is a class; give a function, or an instance: module:instance")
    try:
        # a PyTorch module is called through a method that takes anything; its forward says what it takes
        every = list(inspect.signature(getattr(function, "forward", function)).parameters.values())
    except (TypeError, ValueError):  # some compiled functions have none
        return [inspect.Parameter("rewards", inspect.Parameter.POSITIONAL_ONLY)]
    if every and every[0].name == "self":
        raise SignatureError(f"target: {name} is a method without its object; give module:instance.method")
    named = [p for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if every and not named:
        # a function of keyword arguments alone reads them by name
        names = sorted(n for n in names_in_code(function)[1] if role_of(n))
        named = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in names]
        if not names or every[-1].kind is not every[-1].VAR_KEYWORD:
            raise SignatureError(f"target: {name} names no parameters; wrap it in a function that does")
    return [p for p in named if p.name not in fixed]


def _advantage_roles(
    parameters: list[inspect.Parameter],
    roles: dict[str, str],
    required: list[inspect.Parameter],
    kind: str | None,
) -> dict[str, str]:
    allowed = {"ids", "prompts", "count", "mask", "second_mask", "token_rewards", "lengths", "correct"}
    allowed |= {"row_count", "trajectories", "last_step"}
    roles = {n: r for n, r in roles.items() if r in allowed or (r == "rewards" and kind is None)}
    if not parameters:
        raise SignatureError("target: it takes no arguments; give a function of rewards")
    head = (required or parameters)[0].name
    if not {"token_rewards", "rewards"} & set(roles.values()):
        roles[head] = "token_rewards" if "mask" in roles.values() or kind == "token-level" else "rewards"
    second = required[1].name if len(required) > 1 else ""
    # the user's word decides what an oddly named second argument is
    if second and (not roles.get(second) or kind in ("flat", "prompt-ids", "num-generations")):
        second_role = {"flat": "ids", "prompt-ids": "prompts", "num-generations": "count"}.get(kind or "")
        if second_role and second_role not in roles.values():
            roles[second] = second_role
    if "count" in roles.values() and kind in (None, "num-generations"):
        return roles
    # one-letter names with a default (n, k, g) are rather settings than a group size
    for p in parameters:
        if (
            roles.get(p.name) == "count"
            and (kind is not None or "ids" in roles.values())
            and p.default is not p.empty
        ):
            del roles[p.name]
    return roles


def _loss_roles(parameters: list[inspect.Parameter], roles: dict[str, str]) -> dict[str, str]:
    roles = dict(roles)
    if "old_logp" not in roles.values():  # two policies only: the sampler is the old one
        roles = {name: "old_logp" if role == "sampler_logp" else role for name, role in roles.items()}
    allowed = LOSS_ROLES
    if not LOSS_MARKS & set(roles.values()):  # positional fall-back: logp, old_logp, advantages, mask
        for p, role in zip(parameters, ("logp", "old_logp", "advantages", "mask"), strict=False):
            roles[p.name] = roles.get(p.name) or role
    seen: set[str] = set()
    out = {}
    for name, role in roles.items():
        if role in allowed and role not in seen:
            out[name] = role
            seen.add(role)
    return out


def _advantage_kind(function: Callable[..., Any], played: set[str]) -> str:
    kinds = {
        "token_rewards": "token-level",
        "ids": "flat",
        "count": "num-generations",
        "prompts": "prompt-ids",
    }
    for role, kind in kinds.items():
        if role in played:
            return kind
    axes = _axes_said(function)
    if axes:
        return "grouped" if axes == 2 else "group"
    return ""  # one argument, nothing said: the target tries it out


def _axes_said(function: Callable[..., Any]) -> int:
    """The number of axes of the rewards (2 or 1) by annotations, docstring or code; 0 if none describes it."""
    inner = unwrapped(function)
    annotations = " ".join(str(a) for a in getattr(inner, "__annotations__", {}).values())
    text = annotations + " " + (inspect.getdoc(inner) or "")
    try:
        source = textwrap.dedent(inspect.getsource(inner))
    except (OSError, TypeError):
        source = ""
    text += " " + " ".join(re.findall(r"#.*", source))
    if _TWO_AXES.search(text):
        return 2
    if _ONE_AXIS.search(text):
        return 1
    try:
        tree = ast.parse(source) if source else None
    except SyntaxError:
        tree = None
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.keyword) and node.arg in ("axis", "dim", "keepdims", "keepdim"):
            return 2
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            numbers = [a for a in node.args if isinstance(a, ast.UnaryOp | ast.Constant)]
            if node.func.attr in ("mean", "std", "sum", "var", "max", "min") and numbers:
                return 2
    return 0
