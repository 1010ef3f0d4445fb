"""A kind of function: its roles, its known forms, and the scenes on which a function of this kind must equal one.

The strongest law is that a function equals a known form. Its form is found on plain scenes; laws about one aspect
(an episode's end, a hole in the mask) then compare the function with this form on scenes that have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradvar.testing.arrays import Library
from gradvar.testing.backends import first, value_and_weights
from gradvar.testing.calls import BadOutput, Raised, quietly
from gradvar.testing.digits import apart
from gradvar.testing.kinds.calling import KindCaller, unpacked
from gradvar.testing.kinds.draws import Plan, Scene, sample
from gradvar.testing.laws.base import Law, expect
from gradvar.testing.signatures import Signature

Answer = dict[str, np.ndarray]
PLAIN_SCENES = 5


@dataclass(frozen=True)
class KnownForm:
    """A known form: its answer to a scene, by the names of the outputs. NaN marks a cell that is free.

    ``name`` is the word for ``--is``, ``note`` its settings in words; a form with a ``fault`` is a known mistake, and
    one that is ``asked`` counts only where ``--is`` names it.
    """

    name: str
    answer: Callable[[Scene], Answer]
    note: str = ""
    fault: str = ""
    asked: bool = False

    @property
    def title(self) -> str:
        """Name and settings, for messages."""
        return f"{self.name} ({self.note})" if self.note else self.name


@dataclass(frozen=True)
class Kind:
    """A kind of function.

    ``fits(roles)`` says that a function with these roles is one; ``plan(target)`` draws its plain scenes at
    ``sizes``; ``observe(target, scene)`` is the function's answer; ``forms(target)`` are the known ones, the usual
    first. ``scaled`` kinds are known up to a positive factor. ``matters`` are the roles that must have an effect.
    ``layouts`` are the arrangements of the arrays to try. ``readings(roles)`` are the ways to read the parameters:
    name to role, "" where nothing is known. ``confirmed(roles, target)`` decides where roles do
    not; ``target()`` is the function read as this kind. ``settle(target)`` finds the rest of how it is called.
    """

    name: str
    sentence: str
    fits: Callable[[frozenset[str]], bool]
    plan: Callable[[Any], Plan]
    observe: Callable[[Any, Scene], Answer]
    forms: Callable[[Any], Sequence[KnownForm]]
    laws: tuple[Law, ...]
    sizes: tuple[Mapping[str, int], ...] = ({"N": 1, "T": 3}, {"N": 2, "T": 3}, {"N": 3, "T": 4})
    layouts: tuple[str, ...] = ("NT",)
    matters: tuple[str, ...] = ()
    scaled: bool = False
    gradients: bool = False
    readings: Callable[[Mapping[str, str]], Sequence[Mapping[str, str]]] = lambda roles: [roles]
    confirmed: Callable[[frozenset[str], Callable[[], Any]], bool] = lambda roles, target: True
    settle: Callable[[Any], None] = lambda target: None


@dataclass
class KindTarget:
    """A function under test, its kind and the known form that it was found to have."""

    kind: Kind
    caller: KindCaller
    intended: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    form: KnownForm | None = None
    nearest: KnownForm | None = None
    factor: float = 1.0
    odd_scene: Scene | None = None
    compiled: dict[str, Any] = field(default_factory=dict)
    flaw: str = ""
    remark: str = ""

    @property
    def function(self) -> Callable[..., Any]:
        """The function under test."""
        return self.caller.function

    @property
    def calls(self) -> list[str]:
        """The calls that were made, as lines of Python."""
        return self.caller.calls

    @property
    def library(self) -> Library:
        """The function's array library."""
        return self.caller.library

    @property
    def signature(self) -> Signature:
        """The roles of its parameters."""
        return self.caller.signature

    @property
    def name(self) -> str:
        """The name of the function under test."""
        return self.caller.name

    @property
    def origin(self) -> str:
        """Where the function comes from, for lines that reproduce a finding."""
        return self.caller.origin

    @property
    def sizes(self) -> tuple[Mapping[str, int], ...]:
        """The sizes of scenes that its layout has; few where shapes are compiled, small with logits."""
        sizes = self.kind.sizes[-2:] if self.library.name == "jax" else self.kind.sizes
        if self.takes("logits"):  # a difference for each of [N, T, V] cells, where there is no autodiff
            sizes = sizes[:2]
        return tuple({**s, "N": 1} for s in sizes) if self.caller.layout == "T" else sizes

    def takes(self, *roles: str) -> bool:
        """Return True if each role has a parameter."""
        return all(self.signature.takes(role) for role in roles)

    def plan(self, **changes: Any) -> Plan:
        """The plan of plain scenes, with some entries changed."""
        return {**self.kind.plan(self), **changes}

    def outputs(self, scene: Scene) -> Answer:
        """What the function returns, by name, in the standard layout [N, T]."""
        result, _ = self.caller.raw(scene, self.library.wide)
        return unpacked(result, self.caller, scene)

    def value(self, scene: Scene) -> np.ndarray:
        """The function's first output, or the one under the name loss."""
        result, _ = self.caller.raw(scene, self.library.wide)
        outputs = unpacked(result, self.caller, scene)
        return outputs["loss"] if "loss" in outputs else next(iter(outputs.values()))

    def gradient(self, scene: Scene, role: str) -> np.ndarray:
        """The derivative of the function's first output, summed, with respect to the array of this role."""
        native, _ = self.caller.native(scene, self.library.wide)
        others = {r: v for r, v in native.items() if r != role}

        def loss(point: Any, rest: Mapping[str, Any]) -> Any:
            args, kwargs = self.signature.arguments({**rest, role: point})
            value = first(quietly(self.caller.function, args, kwargs))
            return value.sum() if np.shape(value) else value

        compiled = (
            {} if any(isinstance(v, str) for v in others.values()) else self.compiled.setdefault(role, {})
        )
        point = np.asarray(self.caller.packed(role, scene), float)
        weights = value_and_weights(loss, point, others, self.library, self.library.wide, compiled)[1]
        return self.caller.unpack(weights, scene)

    def observe(self, scene: Scene) -> Answer:
        """The function's answer, as its kind reads it."""
        return self.kind.observe(self, scene)

    def difference(self, form: KnownForm, scene: Scene, factor: float = 1.0) -> str:
        """Where the function differs from the form on this scene, or ""."""
        return difference(self.observe(scene), form, scene, factor, self.tolerance)

    @property
    def tolerance(self) -> float:
        """The error that rounding and differences may cause, relative to the largest entry."""
        narrow = self.library.wide != "float64"
        return 2e-3 if narrow else (2e-4 if self.kind.gradients else 2e-5)

    def compare(self, scene: Scene) -> None:
        """Raise ``Broken`` where the function differs from its form on this scene."""
        form = self.form or self.nearest
        if form is None:
            return
        gap = self.difference(form, scene, self.factor)
        expect(not gap, f"{gap}; {told(scene)}")


def difference(observed: Answer, form: KnownForm, scene: Scene, factor: float, tolerance: float) -> str:
    """Where an answer differs from the form's, or "".

    Args:
        observed: The function's answer.
        form: The known form.
        scene: The arrays.
        factor: What the form's values are multiplied with.
        tolerance: Relative to the largest entry, if that exceeds one.
    """
    for key, expected in form.answer(scene).items():
        if key not in observed:
            continue
        value, wanted = observed[key], factor * np.asarray(expected, float)
        if value.shape != wanted.shape:
            return f"{key} has shape {value.shape}, {form.name} {wanted.shape}"
        free = np.isnan(wanted)
        scale = max(1.0, float(np.max(np.abs(wanted[~free & np.isfinite(wanted)]), initial=0.0)))
        off = ~free & ~(np.isclose(value, wanted, rtol=0, atol=tolerance * scale) | (value == wanted))
        if off.any():
            place = tuple(int(i) for i in np.argwhere(off)[0])
            spot = f"{key}[{', '.join(map(str, place))}]" if place else key
            a, b = apart(value[place], wanted[place])
            return f"{spot} is {a}, {form.title} gives {b}"
    return ""


def told(scene: Scene) -> str:
    """The scene in one line, arrays as lists, at most 300 characters."""
    parts = []
    for role, value in scene.items():
        text = np.array2string(np.asarray(value), separator=", ", precision=9).replace("\n", "")
        parts.append(f"{role} {' '.join(text.split())}")
    text = "; ".join(parts)
    return text if len(text) <= 300 else text[:297] + "..."


def find_form(target: KindTarget) -> None:
    """Find the layout and the known form that the function has on plain scenes; the nearest if it has none.

    Raises:
        Raised: The function raises on plain scenes in every layout.
        BadOutput: It returns no arrays.
    """
    failure: Exception | None = None
    best: tuple[float, str, KnownForm, float, Scene] | None = None
    for layout in target.kind.layouts:
        target.caller.layout = layout
        plan = target.plan()
        scenes = [sample(plan, target.sizes, seed) for seed in range(PLAIN_SCENES)]
        try:
            observed = [target.observe(s) for s in scenes]
        except (Raised, BadOutput, TypeError, ValueError, IndexError, KeyError, RuntimeError) as error:
            failure = failure or error
            continue
        forms = [
            f
            for f in target.kind.forms(target)
            if target.intended == f.name or not (target.intended or f.asked)
        ]
        for form in forms:
            factor = _factor(observed, form, scenes) if target.kind.scaled else 1.0
            gaps = [
                bool(difference(o, form, s, factor, target.tolerance))
                for o, s in zip(observed, scenes, strict=True)
            ]
            if factor > 0 and not any(gaps) and not form.fault:
                target.form, target.factor = form, factor
                return
            miss = sum(gaps) + _distance(observed, form, scenes, factor) + 0.1 * (factor <= 0)
            if best is None or miss < best[0]:
                odd = scenes[gaps.index(True)] if any(gaps) else scenes[0]
                best = (miss, layout, form, factor, odd)
    if best is None:
        raise failure or BadOutput("has no known form to be compared with")
    _, target.caller.layout, target.nearest, target.factor, target.odd_scene = best


def _stacked(
    answers: Sequence[Answer], form: KnownForm, scenes: Sequence[Scene]
) -> tuple[np.ndarray, np.ndarray] | None:
    left, right = [], []
    for answer, scene in zip(answers, scenes, strict=True):
        for key, expected in form.answer(scene).items():
            if key in answer:
                if answer[key].shape != np.shape(expected):
                    return None
                left.append(np.ravel(answer[key]))
                right.append(np.ravel(np.asarray(expected, float)))
    if not left:
        return None
    observed, wanted = np.concatenate(left), np.concatenate(right)
    sound = np.isfinite(observed) & np.isfinite(wanted)
    return observed[sound], wanted[sound]


def _factor(answers: Sequence[Answer], form: KnownForm, scenes: Sequence[Scene]) -> float:
    """The factor that brings the form nearest to the answers."""
    pair = _stacked(answers, form, scenes)
    if pair is None or not np.any(pair[1]):
        return 1.0
    return float(pair[0] @ pair[1] / (pair[1] @ pair[1]))


def _distance(answers: Sequence[Answer], form: KnownForm, scenes: Sequence[Scene], factor: float) -> float:
    """Between 0 (equal) and 1 (nothing alike); 2 where the shapes differ."""
    pair = _stacked(answers, form, scenes)
    if pair is None:
        return 2.0
    observed, wanted = pair[0], factor * pair[1]
    size = float(np.abs(observed).sum() + np.abs(wanted).sum())
    return float(np.abs(observed - wanted).sum()) / size if size else 0.0
