"""Containers that trainers pass instead of plain arrays: batches, rows of dicts, configurations, a model.

A container is filled when it is read: a key or an attribute is looked up in ``roles``, so that helpers inside the
function may read it too, and what was read is known afterwards. What the function writes into a container comes
back as its output.
"""

from __future__ import annotations

import dataclasses
import dis
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gradvar.testing.arrays import unwrapped
from gradvar.testing.roles import ROLES, role_of

# Parts of a batch or of a configuration that only group its entries.
_SECTIONS = frozenset(
    {"batch", "non_tensor_batch", "meta_info", "meta", "data", "inputs", "policy_loss", "actor", "algorithm"}
    | {"trainer", "loss", "rollout", "training", "train", "hparams", "actor_rollout_ref"}
)
# Settings that are no numbers, as trainers name them.
_CHOICES: Mapping[str, Any] = {
    "loss_agg_mode": "token-mean",
    "loss_type": "grpo",
    "norm_adv_by_std_in_grpo": True,
    "scale_rewards": True,
    "kl_penalty": "kl",
    "importance_sampling_level": "token",
    "dtype": None,
    "device": "cpu",
}
_OFF = ("use_", "enable_", "with_", "do_", "apply_", "mask_truncated", "is_")
CONTAINERS = ("batch", "config", "model", "rows", "record")


class UnknownEntry(ValueError):
    """A function reads an entry of a container that the kit does not know."""


class StandInNumber(float):
    """A number that an unknown setting is taken as; read as a section, it leads back to its configuration."""

    section: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.section[name]

    def __getitem__(self, name: str) -> Any:
        return self.section[name]


class Bag(dict[str, Any]):
    """A batch or a configuration, read by key or by attribute.

    ``source`` holds the values by role; names that were read are noted in ``touched``, with their role.
    """

    def __init__(
        self, label: str, source: Mapping[str, Any], touched: dict[str, str], settings: bool
    ) -> None:
        super().__init__()
        object.__setattr__(self, "_parts", (label, source, touched, settings))

    def __missing__(self, name: str) -> Any:
        label, source, touched, settings = self._parts
        if not isinstance(name, str):
            raise KeyError(name)
        role = role_of(name)
        if role in source:
            touched[name] = role
            return source[role]
        if name in _SECTIONS:
            return self
        if role and ROLES[role].usual is not None:
            touched[name] = role
            return ROLES[role].usual
        if settings:
            return self._setting(name, touched)
        raise UnknownEntry(_unknown(name, label))

    def _setting(self, name: str, touched: dict[str, str]) -> Any:
        touched[name] = ""
        if name in _CHOICES:
            return _CHOICES[name]
        if name.startswith(_OFF):
            return False
        number = StandInNumber(1.0)
        number.section = self
        return number

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __contains__(self, name: object) -> bool:
        source = self._parts[1]
        if isinstance(name, str) and role_of(name) in source:
            self[name]  # noted as read: its presence decides what the function does
            return True
        return dict.__contains__(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        """As a dict's; a setting keeps the function's own default."""
        source, settings = self._parts[1], self._parts[3]
        if dict.__contains__(self, name) or role_of(name) in source:
            return self[name]
        return self[name] if settings and default is None and name in _CHOICES else default


def container_of(name: str, annotation: Any, role: str) -> str:
    """Return the form of a parameter that holds several arrays, or "".

    ``name``, ``annotation`` and ``role`` are the parameter's.
    """
    text = annotation if isinstance(annotation, str) else str(annotation)
    if dataclasses.is_dataclass(annotation):
        return "record"
    if re.search(r"(list|List|Sequence|Iterable)\[\s*(dict|Dict|Mapping)", text):
        return "rows"
    if role in ("batch", "config", "model"):
        return role
    return "batch" if re.fullmatch(r"(typing\.)?(dict|Dict|Mapping)(\[.*\])?", text.strip()) else ""


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function's parameters, as objects where they can be resolved."""
    inner = unwrapped(function)
    try:
        return typing.get_type_hints(inner)
    except Exception:  # an annotation may name anything
        return dict(getattr(inner, "__annotations__", {}))


def names_in_code(function: Callable[..., Any], depth: int = 3) -> tuple[set[str], set[str]]:
    """Return the names that a function and its helpers read: all of them, and those that are text."""
    names: set[str] = set()
    texts: set[str] = set()
    for code in _codes(unwrapped(function), depth):
        texts |= {c for c in code.co_consts if isinstance(c, str) and c.isidentifier()}
        names |= set(code.co_names)
    return names | texts, texts


def entries_in_code(function: Callable[..., Any]) -> set[str]:
    """The names that a function and its module's helpers read as an attribute or hold as text, docstrings left out."""
    plain, names = unwrapped(function), set()
    for part in _codes(plain, 2, getattr(plain, "__module__", None)):
        names |= {
            str(i.argval) for i in dis.get_instructions(part) if i.opname in ("LOAD_ATTR", "LOAD_METHOD")
        }
        names |= {c for c in part.co_consts if isinstance(c, str) and c.isidentifier()}
    return names


def _codes(function: Any, depth: int, module: str | None = None) -> Iterator[types.CodeType]:
    """The code of a function, of the functions inside it and of its helpers, those of one module if it is named."""
    code = getattr(function, "__code__", None)
    if code is None:
        return
    stack = [code]
    while stack:
        part = stack.pop()
        yield part
        stack += [c for c in part.co_consts if isinstance(c, types.CodeType)]
    scope = getattr(function, "__globals__", {})
    for name in code.co_names if depth else ():
        helper = scope.get(name)
        if not callable(helper) or isinstance(helper, type) or not hasattr(unwrapped(helper), "__code__"):
            continue
        if module is None or getattr(unwrapped(helper), "__module__", None) == module:
            yield from _codes(unwrapped(helper), depth - 1, module)


def filled(form: str, name: str, annotation: Any, source: Mapping[str, Any], touched: dict[str, str]) -> Any:
    """Return the container that a parameter gets.

    Args:
        form: One of ``CONTAINERS``.
        name: The parameter's name.
        annotation: Its annotation; the class of a record.
        source: The values by role.
        touched: Takes the names that are read, with their roles.
    """
    if form == "model":
        touched["logp"] = "logp"
        return lambda *args, **kwargs: source["logp"]
    if form == "rows":
        count = next(len(v) for r, v in source.items() if ROLES[r].shape[:1] == "N")
        return [Bag(f"{name}[{i}]", _row(source, i), touched, False) for i in range(count)]
    if form == "record":
        return _record(name, annotation, source, touched)
    return Bag(name, source, touched, form == "config")


def _row(source: Mapping[str, Any], place: int) -> dict[str, Any]:
    """The values of one rollout; single numbers are Python's."""
    row = {role: value[place] if ROLES[role].shape[:1] == "N" else value for role, value in source.items()}
    return {
        role: value.item() if hasattr(value, "item") and not value.shape else value
        for role, value in row.items()
    }


def _unknown(entry: str, container: str) -> str:
    objective = (
        "; `gradvar prove` and `gradvar measure` take an estimator or objective(logp, batch) of gradvar"
    )
    return (
        f"target: cannot tell what '{entry}' of {container} is; wrap the function, or say --adapter"
        f"{objective if entry == 'rewards' else ''}"
    )


def _record(name: str, kind: Any, source: Mapping[str, Any], touched: dict[str, str]) -> Any:
    entries = {}
    for entry in dataclasses.fields(kind):
        role = role_of(entry.name)
        required = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        if role in source and (required or role not in ("advantages", "returns")):
            entries[entry.name], touched[entry.name] = source[role], role
        elif required:
            raise UnknownEntry(_unknown(entry.name, name))
    return kind(**entries)


def written_into(container: Any) -> dict[str, Any]:
    """Return what a function wrote into a container that it was given, by name."""
    if isinstance(container, Bag):
        return dict(container)
    if isinstance(container, list) and container and isinstance(container[0], Bag):
        return {key: [row[key] for row in container] for key in container[0]}
    if dataclasses.is_dataclass(container):
        return {f.name: getattr(container, f.name) for f in dataclasses.fields(container)}
    return {}
