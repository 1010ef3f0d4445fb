"""The clip of a policy loss, read off its weights at ratios from 1/20 to 20 for either sign of the advantage.

The weight of a rollout at ratio r, relative to its weight at ratio one, is a curve for each sign. What is known:

* none: r, at every ratio; or one, where the ratio is no part of the gradient;
* PPO, GSPO, GMPO, DAPO: r, and zero beyond the clip in the direction of the advantage; dual: zero above a bound
  of three or more for negative advantages as well;
* CISPO, TIS, TOPR: r clipped, not zero;
* a mask (IcePop, trust regions): zero beyond on both sides, and the rollout's value with it;
* SAPO, VESPO: smooth, and never much above r.

What none of them does is a fault: the clip on the wrong side of the advantage, a clip without its minimum, one that
is never reached, a weight that grows where the ratio falls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gradvar.testing.arrays import defaults_of
from gradvar.testing.calls import Raised
from gradvar.testing.digits import shown
from gradvar.testing.laws.base import Broken, Residue, expect
from gradvar.testing.laws.loss_batches import plain_batch, shifted_to
from gradvar.testing.losses import LossTarget
from gradvar.testing.roles import role_of

RATIOS = (0.05, 0.4, 0.95, 1.05, 2.0, 5.0, 20.0)
ZERO = 1e-5
_FAR = 30.0  # a bound that no ratio reaches, whether or not one is added to it


@dataclass(frozen=True)
class ClipCurve:
    """Weights at ``RATIOS`` relative to that at one, for one sign, and how the value moved from that at one."""

    sign: float
    weights: tuple[float, ...]
    moves: tuple[float, ...]

    def at(self, ratio: float) -> float:
        """The weight at one of the ratios."""
        return self.weights[RATIOS.index(ratio)]

    def move(self, ratio: float) -> float:
        """The change of the objective's value, in the direction of the advantage."""
        return self.sign * self.moves[RATIOS.index(ratio)]

    @property
    def clips_outward(self) -> bool:
        """Return True if a far move in the direction of the advantage ends the push."""
        return abs(self.at(20.0 if self.sign > 0 else 0.05)) <= ZERO

    @property
    def clips_inward(self) -> bool:
        """Return True if a move against the advantage, short of a dual clip's bound, ends the push."""
        return abs(self.at(0.4 if self.sign > 0 else 2.0)) <= ZERO

    @property
    def is_ratio(self) -> bool:
        """Return True if the weight is the ratio, unclipped."""
        return bool(np.allclose(self.weights, RATIOS, rtol=1e-3))

    @property
    def is_constant(self) -> bool:
        """Return True if the ratio is no part of the weight."""
        return bool(np.allclose(self.weights, 1.0, rtol=1e-3))


def clip_form(target: LossTarget, tokens: int) -> None:
    """The clip is one that is known to work, or none: it ends a push that went far enough, and no other.

    Broken by a minimum that is taken of the ratios, before the advantage is multiplied, or by a maximum in its
    place: the clip then acts on the side where it should let go, and a rollout of negative advantage runs away.
    Broken by a clamp without a minimum: what was pushed the wrong way never comes back. Broken by a clip whose
    result is thrown away, and by two bounds that are taken for each other. Report: takuseno/ppo#3,
    yandexdataschool/Practical_RL#248, rllm-org/rllm#81, callsys/GMPO#4.
    """
    better, worse = curve(target, 1.0, tokens), curve(target, -1.0, tokens)
    for one in (better, worse):
        if one.clips_inward and fades(target, one.sign, tokens):
            raise Residue(f"read as smooth weights that fade, advantage {one.sign:+g}")
        _sane(one)
    plain = [c for c in (better, worse) if c.is_ratio or c.is_constant]
    name = clip_setting(target)
    expect(
        len(plain) < 2 or not name,
        f"'{name}' is taken, and the clip is never reached: weights {shown(better.weights)} at ratios {shown(RATIOS)}",
    )
    form = form_of(better, worse)
    if form.startswith("PPO's clip"):
        _bounds_as_named(target, tokens)
    raise Residue(f"read as {form}")


def _bounds_as_named(target: LossTarget, tokens: int) -> None:
    """The setting that is called high is the bound above one: with much of it a push up goes on, and no push down."""
    names = {role_of(name): name for name in clip_settings(target)}
    high = names.get("clip_high", "")
    if not high or "clip_low" not in names:
        return
    fixed = {**target.signature.fixed, high: _FAR}
    wider = replace(target, signature=replace(target.signature, fixed=fixed), compiled={})
    try:
        up, down = push(wider, 1.0, tokens, 2.0)[1], push(wider, -1.0, tokens, 0.4)[1]
    except (ArithmeticError, AssertionError, Raised, TypeError, ValueError):
        return  # it takes no such setting
    swapped = abs(up) <= ZERO < abs(down)
    expect(
        not swapped,
        f"'{high}' moves the bound below one, and not the one above: at {_FAR:g} a ratio of 2 is clipped still, and "
        f"one of 0.4 no longer; '{names['clip_low']}' and '{high}' are taken for each other",
    )


def _sane(one: ClipCurve) -> None:
    text = f"advantage {one.sign:+g}: weights {shown(one.weights)} at ratios {shown(RATIOS)}, relative to that at one"
    weights = np.asarray(one.weights)
    expect(bool(np.all(np.isfinite(weights))), f"{text}: not finite")
    expect(bool(np.all(weights >= -1e-3)), f"{text}: pushed against its advantage")
    if one.clips_inward and not one.clips_outward:
        raise Broken(
            f"{text}: the clip is on the wrong side of the advantage (the minimum before the advantage is "
            "multiplied, or a maximum for the minimum)"
        )
    if one.clips_inward and one.clips_outward and one.move(2.0) - one.move(0.4) > 1e-6:
        raise Broken(f"{text}: a clip without a minimum; what was pushed the wrong way never comes back")
    limit = 1.5 * np.maximum(RATIOS, 1.0)
    expect(bool(np.all(weights <= limit)), f"{text}: it grows beyond the ratio (inverted, or counted twice)")


def form_of(better: ClipCurve, worse: ClipCurve) -> str:
    """The name of the known form that the curves have, or "a form without a name"."""
    both = (better, worse)
    if all(c.is_ratio for c in both):
        return "the ratio without a clip"
    if all(c.is_constant for c in both):
        return "no ratio in the weights"
    if all(c.clips_outward and c.clips_inward for c in both):
        return "a mask beyond the clip, on both sides"
    if all(c.clips_outward and not c.clips_inward for c in both):
        dual = abs(worse.at(20.0)) <= ZERO
        return "PPO's clip" + (", dual" if dual else "")
    if not any(abs(w) <= ZERO for c in both for w in c.weights):
        flat = all(np.isclose(c.at(20.0), c.at(5.0), rtol=1e-3) for c in both)
        return "clipped weights (CISPO, TIS)" if flat else "smooth weights (SAPO, VESPO)"
    return "a form without a name"


def curve(target: LossTarget, sign: float, tokens: int) -> ClipCurve:
    """The weights of a rollout with an advantage of this sign, from on policy to far off it."""
    value, unit = push(target, sign, tokens, 1.0)
    if abs(unit) <= ZERO:
        raise Residue(f"not read: a rollout of advantage {sign:+g} has no weight on policy")
    rows = [push(target, sign, tokens, ratio) for ratio in RATIOS]
    return ClipCurve(sign, tuple(w / unit for _, w in rows), tuple((v - value) / abs(unit) for v, _ in rows))


def fades(target: LossTarget, sign: float, tokens: int) -> bool:
    """Return True if the push against the advantage dies away by degrees, where a clip ends it at once (VESPO)."""
    unit = push(target, sign, tokens, 1.0)[1]
    ratios = np.geomspace(1.0, 0.4 if sign > 0 else 2.0, 9)[1:]
    weights = [push(target, sign, tokens, float(ratio))[1] / unit for ratio in ratios]
    return any(10 * ZERO < w < 0.3 for w in weights)


def push(target: LossTarget, sign: float, tokens: int, ratio: float) -> tuple[float, float]:
    """What a rollout's advantage adds to the value and to its weights, at a ratio of all its tokens.

    The other rollouts stay on policy, with advantages of mean zero, so that a loss that normalises them sees the
    same ones.

    Args:
        target: The loss.
        sign: The sign of the rollout's advantage.
        tokens: Tokens of each rollout.
        ratio: The ratio of each of its tokens.
    """
    batch = plain_batch(moved=False, lengths=(tokens,) * 4)
    batch = replace(batch, advantages=sign * np.array([1.0, -1.0, 1.0, -1.0]))
    away = shifted_to(batch, 0, float(np.log(ratio)))
    value, weights = target.weights(away)
    still = target.weights(replace(away, advantages=np.zeros(4)))
    return value - still[0], float((weights - still[1])[0].sum())


def clip_setting(target: LossTarget) -> str:
    """The name of a parameter that holds a clip which should be reached at the ratios that are tried, or ""."""
    return next(iter(clip_settings(target)), "")


def clip_settings(target: LossTarget) -> tuple[str, ...]:
    """The names of parameters that hold a clip which should be reached at the ratios that are tried."""
    values = {**(defaults_of(target.function) or {}), **target.signature.fixed}
    plain = {n: v for n, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return tuple(n for n, v in plain.items() if role_of(n) in ("clip", "clip_low", "clip_high") and 0 < v < 1)
