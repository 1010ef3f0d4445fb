"""An adapter: a trainer's batch made from the kit's arrays by role, and the trainer's result read back.

``adapted(adapter, function)`` is the trainer's function in the kit's names. A ``CallForm`` is one way in which the
trainer calls its functions; an ``Adapter`` is the trainer's forms.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradvar.testing.arrays import unwrapped
from gradvar.testing.roles import ROLES, role_of
from gradvar.testing.signatures import SignatureError


@dataclass(frozen=True)
class TrainerCall:
    """One call: the trainer's function, the names of its parameters, the user's settings, the kit's arrays.

    ``values`` are native arrays (PyTorch, JAX) by role, as in ``roles.ROLES``.
    """

    function: Callable[..., Any]
    takes: tuple[str, ...]
    settings: Mapping[str, Any]
    values: Mapping[str, Any]

    def by_name(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function with those of the arguments, and of the settings, that it takes."""
        given = {name: value for name, value in arguments.items() if name in self.takes}
        given |= {name: value for name, value in self.settings.items() if name in self.takes}
        return self.function(**given)

    def rest(self) -> dict[str, Any]:
        """The settings that no parameter of the function takes: they belong into the trainer's config."""
        return {name: value for name, value in self.settings.items() if name not in self.takes}


@dataclass(frozen=True)
class CallForm:
    """One way in which a trainer calls its functions.

    Args:
        kind: "advantage" or "loss".
        marks: Parameters of the trainer's function by which the form is recognised.
        names: The role of each parameter that is an array; a role is asked for where the function takes it.
        call: Makes the batch, calls the function and reads its result: ``call(TrainerCall) -> arrays``.
        roles: Roles that are always asked for, inside whatever the trainer packs them in; a function of the
            settings where these decide.
    """

    kind: str
    marks: tuple[str, ...]
    call: Callable[[TrainerCall], Any]
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    roles: tuple[str, ...] | Callable[[Mapping[str, Any]], tuple[str, ...]] = ()

    def asked(self, takes: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
        """The roles that the kit has to fill for a function with these parameters."""
        always = self.roles(settings) if callable(self.roles) else self.roles
        named = [role for name, role in self.names.items() if name in takes and name not in settings]
        return list(dict.fromkeys([*always, *named]))


@dataclass(frozen=True)
class Adapter:
    """A trainer's forms.

    ``prepare`` turns what the user names (a class, a method without its object) into a function; ``package``
    is what pip installs.
    """

    name: str
    package: str
    library: str
    forms: tuple[CallForm, ...]
    prepare: Callable[[Callable[..., Any], dict[str, Any]], Callable[..., Any]] = lambda function, _: function


def adapted(adapter: Adapter, function: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    """Return the trainer's function in the kit's names: a function of arrays by role.

    Raises ``SignatureError`` where its parameters are those of none of the adapter's forms.
    """
    left = dict(settings)
    prepared = adapter.prepare(function, left)
    takes = parameters(prepared)
    form = next((form for form in adapter.forms if set(form.marks) <= set(takes)), None)
    name = getattr(unwrapped(function), "__name__", type(function).__name__)
    if form is None:
        forms = "; ".join(f"{form.kind} ({', '.join(form.marks)}, ...)" for form in adapter.forms)
        raise SignatureError(
            f"adapter: {name}({', '.join(takes)}) is no form of {adapter.name}; it knows {forms}"
        )
    roles = form.asked(takes, left)
    names = [parameter_of(role) for role in roles]

    def adapted_call(*args: Any, **kwargs: Any) -> Any:
        arrays = dict(zip(names, args, strict=False)) | kwargs
        values = {role: arrays[name] for role, name in zip(roles, names, strict=True) if name in arrays}
        return form.call(TrainerCall(prepared, takes, left, values))

    adapted_call.__name__ = adapted_call.__qualname__ = name
    adapted_call.__doc__ = f"{name}, called as {adapter.name} calls it."
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    result: Any = adapted_call
    result.__signature__ = inspect.Signature([inspect.Parameter(name, keyword) for name in names])
    result.adapter, result.adapter_settings, result.kind = adapter, dict(settings), form.kind
    result.packed = frozenset(roles) - {form.names[n] for n in takes if n in form.names}
    return adapted_call


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's parameters; those of a PyTorch module are those of its ``forward``."""
    method = getattr(function, "forward", function)
    try:
        every = inspect.signature(method).parameters.values()
    except (TypeError, ValueError) as error:
        raise SignatureError(f"adapter: the parameters of {function!r} cannot be read") from error
    return tuple(p.name for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))


def parameter_of(role: str) -> str:
    """The kit's name for a parameter of the role.

    >>> parameter_of("count"), parameter_of("old_logp")
    ('num_generations', 'old_logp')
    """
    if role_of(role) == role:
        return role
    return next((name for name in ROLES[role].names.split() if role_of(name) == role), role)


class TrainerConfig(dict[str, Any]):
    """A configuration read by attribute, by key and by ``get``, as the trainers' own are."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"config has no '{name}'; give it with --arguments")

    def __deepcopy__(self, memo: dict[int, Any]) -> TrainerConfig:
        return TrainerConfig(copy.deepcopy(dict(self), memo))


def config_of(function: Callable[..., Any], kind: str, usual: Mapping[str, Any], settings: Any) -> Any:
    """The trainer's configuration: its usual values, and the user's settings over them.

    Where the function's module knows the trainer's own class (``kind``), the result is one of that class, with
    the defaults of its fields, made without its constructor, which asks for the settings of a cluster.

    Args:
        function: The trainer's function.
        kind: The name of the trainer's class in the function's module.
        usual: Values where that class is not at hand.
        settings: The user's.
    """
    scope = getattr(unwrapped(function), "__globals__", {})
    own = scope.get(kind)
    if not (isinstance(own, type) and dataclasses.is_dataclass(own)):
        return TrainerConfig(nested(dict(usual), settings))
    config = object.__new__(own)
    for field in dataclasses.fields(own):
        if field.default is not dataclasses.MISSING:
            object.__setattr__(config, field.name, field.default)
        elif field.default_factory is not dataclasses.MISSING:
            object.__setattr__(config, field.name, field.default_factory())
    for name, value in settings.items():
        inner = getattr(config, name, None)
        if isinstance(value, Mapping) and dataclasses.is_dataclass(inner):
            inner = copy.copy(inner)
            for key, part in value.items():
                object.__setattr__(inner, key, part)
            value = inner
        object.__setattr__(config, name, value)
    return config


def nested(usual: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The usual values with the settings over them, also inside nested configurations."""
    merged = dict(usual)
    for name, value in settings.items():
        inner = merged.get(name)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        merged[name] = TrainerConfig(nested(dict(inner or {}), value)) if both else value
    return merged


def namespace(values: Mapping[str, Any]) -> SimpleNamespace:
    """Nested dictionaries as an object that is read by attribute."""
    return SimpleNamespace(**{k: namespace(v) if isinstance(v, dict) else v for k, v in values.items()})


def uids(ids: Any) -> np.ndarray:
    """Group labels as the strings in an object array that verl and SkyRL pass."""
    return np.array([f"u{int(label)}" for label in numbers(ids)], dtype=object)


def numbers(values: Any) -> np.ndarray:
    """An array of any library as NumPy's."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def by_token(advantages: Any, mask: Any) -> Any:
    """Advantages [N] or [N, T] as [N, T]: what each token of a rollout gets, zero where the mask is."""
    return (advantages[:, None] if len(np.shape(advantages)) == 1 else advantages) * as_float(
        mask, advantages
    )


def as_float(mask: Any, like: Any) -> Any:
    """A mask in the floating dtype of another array."""
    return mask.to(like.dtype) if hasattr(mask, "detach") else mask.astype(like.dtype)


def as_bool(mask: Any) -> Any:
    """A mask as booleans, as torchrl and prime-rl have it."""
    return mask.bool() if hasattr(mask, "detach") else mask.astype(bool)


def torch_module() -> Any:
    """PyTorch, imported already by the function under test."""
    if "torch" not in sys.modules:
        raise SignatureError("adapter: PyTorch has not been imported by the code under test; import it there")
    return sys.modules["torch"]


def class_of(function: Callable[..., Any]) -> type | None:
    """The class in whose body a function was written, or None."""
    inner = unwrapped(function)
    scope: Any = getattr(inner, "__globals__", {})
    *path, _ = getattr(inner, "__qualname__", "").split(".")
    if not path or "<locals>" in path:
        return None
    value = scope.get(path[0])
    for part in path[1:]:
        value = getattr(value, part, None)
    return value if isinstance(value, type) else None
