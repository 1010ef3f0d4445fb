"""Forms of masks of whole rollouts: a divergence from the other policy, or a mean ratio, beyond a bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gradvar.testing.calls import BadOutput
from gradvar.testing.kinds.base import Answer, KindTarget, KnownForm
from gradvar.testing.kinds.correction import bounds
from gradvar.testing.kinds.draws import Choice, Draw, Plan, Rows, Scene, Unit, right
from gradvar.testing.kinds.filter_reading import DROPPING

# no mean of differences comes near a threshold, and both small and large ones occur
TRAINER = (-1.0, -1.53, -6.13, -0.37, -0.89)
BEHIND = (-1.0, -0.41, -1.17, -6.71, -2.03)
ADVANTAGES = (-1.0, 1.0, -0.5, 0.5)
RATIO_CAPS, KL_CAPS = (2.0, 5.0), (0.5, 1.0, 0.1)
ROLLOUTS = 192
NEAR = 1e-3  # a measure that is nearer to its threshold is decided by rounding


def plan(target: KindTarget) -> Plan:
    """Rows of unequal length, one advantage a rollout; some rows are near the other policy, some far from it."""
    drawn: dict[str, Unit] = {
        "logp": Draw("NT", TRAINER), "old_logp": Draw("NT", TRAINER), "sampler_logp": Draw("NT", BEHIND),
        "advantages": Choice(_advantages), "mask": Rows(right), "divergence_cap": Draw("", KL_CAPS),
        "cap": Draw("", RATIO_CAPS), "cap_low": Draw("", (0.5, 0.25)),
    }  # fmt: skip
    drawn[behind_role(target)] = Draw("NT", BEHIND)
    return {role: draw for role, draw in drawn.items() if target.takes(role)}


def _advantages(sizes: Mapping[str, int]) -> list[np.ndarray]:
    """Arrays [N, T] that are constant over the tokens of a rollout, with one row of each sign at least."""
    rng = np.random.default_rng(0)
    rows = [rng.permutation(np.resize(ADVANTAGES, sizes["N"])) for _ in range(8)]
    return [np.repeat(row[:, None], sizes["T"], axis=1) for row in rows]


def trainer_role(target: KindTarget) -> str:
    """The role of the log-probabilities of the policy that is trained."""
    return "logp" if target.takes("logp") else "old_logp"


def behind_role(target: KindTarget) -> str:
    """The role of the log-probabilities of the other policy: the sampler's, or the old one's."""
    return "sampler_logp" if target.takes("sampler_logp") else "old_logp"


def observe(target: KindTarget, scene: Scene) -> Answer:
    """1 for each token [N, T] of a rollout that is kept, 0 for one that is dropped. Raises ``BadOutput``."""
    shape = np.shape(scene[behind_role(target)])
    for name, value in target.outputs(scene).items():
        if target.caller.layout == "list" and value.shape == (int(_given(scene).sum()),):
            tokens = np.full(shape, np.nan)  # [N, T] from the tokens of all rollouts in one line
            tokens[_given(scene)] = value
            value = tokens
        if value.shape not in (shape, shape[:1], (shape[0], 1)):
            continue
        if not bool(np.isin(value[~np.isnan(value)], (0, 1)).all()):
            continue
        kept = np.broadcast_to(value.reshape(shape[0], -1), shape).astype(float)
        dropping = DROPPING.search(target.name.lower()) or DROPPING.search(name.lower())
        return {"kept": 1.0 - kept if dropping else kept}
    raise BadOutput(f"returned no zeros and ones of shape {list(shape)}, {[shape[0], 1]} or {[shape[0]]}")


def real_tokens(scene: Scene) -> np.ndarray:
    """The tokens that count [N, T], all of them where the scene has no mask."""
    shape = next(np.shape(scene[r]) for r in ("sampler_logp", "old_logp") if r in scene)
    return np.asarray(scene["mask"], float) > 0 if "mask" in scene else np.ones(shape, bool)


def _given(scene: Scene) -> np.ndarray:
    """The tokens of rows that are cut after their last real token [N, T]."""
    return np.cumsum(real_tokens(scene)[:, ::-1], axis=1)[:, ::-1] > 0


# of each token, by the logarithm of trainer over the other policy
DIVERGENCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "k1": lambda d: -d,
    "k2": lambda d: 0.5 * d**2,
    "k3": lambda d: np.exp(d) - d - 1,
    "abs": np.abs,
}


def _over_rollout(cells: np.ndarray, mask: np.ndarray, how: str) -> np.ndarray:
    """The mean, the sum or the largest of a rollout's tokens [N, 1]; nothing of a rollout without tokens."""
    if how == "max":
        return np.where(mask, cells, -np.inf).max(-1, keepdims=True)
    total = np.where(mask, cells, 0.0).sum(-1, keepdims=True)
    return total / np.maximum(mask.sum(-1, keepdims=True), 1) if how == "mean" else total


def forms(target: KindTarget) -> Sequence[KnownForm]:
    """A divergence above a bound, of bad rollouts (arXiv 2512.02556, equation 9) or of all; a ratio outside of its.

    One scene of many rollouts leaves the forms that equal the function there: a rollout tells only yes or no.
    """
    signs = ("negative_", "") if target.takes("advantages") else ("",)
    out: list[KnownForm] = []
    for sign in signs:
        for how in ("mean", "sum", "max"):
            for name in DIVERGENCES:
                out += [
                    _divergence(f"{sign}{name}_{how}", name, how, cap)
                    for cap in _caps(target, "divergence_cap", lambda n: n > 0, KL_CAPS)
                ]
        for level, how in (("geometric", "mean"), ("product", "sum"), ("outlier", "max")):
            for cap in _caps(target, "cap", lambda n: n > 1, RATIO_CAPS):
                lows = bounds(target, "cap_low", lambda number: 0 < number < 1, (0.0, None))
                out += [_ratio(f"{sign}{level}", how, cap, low) for low in lows]
    scene = many_rollouts(target)
    equal = [form for form in out if not target.difference(form, scene)]
    return equal or out


def _caps(
    target: KindTarget, role: str, fits: Callable[[float], bool], usual: Sequence[float]
) -> Sequence[float | str | None]:
    """The bound's role where it is taken, under either name; else numbers in the code, and the usual ones."""
    other = {"divergence_cap": "cap", "cap": "divergence_cap"}[role]
    return bounds(target, other if target.takes(other) else role, fits, usual)


def many_rollouts(target: KindTarget) -> Scene:
    """One scene of many rollouts, at all distances, with advantages of both signs; always the same."""
    rng = np.random.default_rng(0)
    rows, steps = ROLLOUTS, 4
    scene: Scene = {
        role: rng.choice(draw.palette, size=(rows, steps) if draw.axes else ())
        for role, draw in target.plan().items()
        if isinstance(draw, Draw)
    }
    # half of the rows stay near the other policy, so that small bounds decide too
    near = np.arange(rows) % 2 == 0
    step = rng.uniform(-0.7, 0.7, size=(rows, steps))
    ahead, other = trainer_role(target), behind_role(target)
    scene[ahead] = np.where(near[:, None], scene[other] + step, scene[ahead])
    scene["advantages"] = np.repeat(rng.choice(ADVANTAGES, size=(rows, 1)), steps, axis=1)
    scene["mask"] = np.array(right(steps))[rng.integers(steps, size=rows)]
    return {role: value for role, value in scene.items() if target.takes(role)}


def _gaps(scene: Scene) -> np.ndarray:
    """log of trainer over the policy behind it [N, T]."""
    trainer, behind = ("logp", "old_logp") if "sampler_logp" not in scene else ("logp", "sampler_logp")
    values = scene[trainer] if trainer in scene else scene["old_logp"]
    return np.asarray(values, float) - np.asarray(scene[behind], float)


def _bound(scene: Scene, cap: float | str | None) -> float:
    return float(scene[cap]) if isinstance(cap, str) else float(cap or np.inf)


def _form(name: str, decide: Callable[[Scene], tuple[np.ndarray, np.ndarray]], note: str) -> KnownForm:
    """A form that drops where ``decide`` says so [N, 1]; free where that is too near to call, and on padding.

    Args:
        name: Its name; negative_ drops only rollouts with a negative advantage.
        decide: The rollouts that are too far off, and those that cannot be told.
        note: Its settings in words.
    """

    def answer(scene: Scene) -> Answer:
        with np.errstate(all="ignore"):
            far, close = decide(scene)
        if name.startswith("negative_"):
            far = far & (np.asarray(scene["advantages"], float) < 0)
        kept = np.broadcast_to(np.where(close, np.nan, np.where(far, 0.0, 1.0)), real_tokens(scene).shape)
        return {"kept": np.where(real_tokens(scene), kept, np.nan)}

    return KnownForm(name, answer, note)


def _divergence(title: str, name: str, how: str, cap: float | str | None) -> KnownForm:
    def decide(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        measure = _over_rollout(DIVERGENCES[name](_gaps(scene)), real_tokens(scene), how)
        return measure > _bound(scene, cap), np.abs(measure - _bound(scene, cap)) < NEAR

    return _form(title, decide, f"above {cap:g}" if isinstance(cap, float) else "")


def _ratio(title: str, how: str, cap: float | str | None, low: float | str | None) -> KnownForm:
    def decide(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        top = np.log(_bound(scene, cap))
        bottom = -top if low is None else np.log(_bound(scene, low) if low else 0.0)
        gaps, mask = _gaps(scene), real_tokens(scene)
        high = _over_rollout(gaps, mask, how)
        floor = -_over_rollout(-gaps, mask, how)  # the lowest token; of a mean or a sum the same number
        close = (np.abs(high - top) < NEAR) | (np.abs(floor - bottom) < NEAR)
        return (high > top) | (floor < bottom), close

    words = [f"cap {cap:g}" if isinstance(cap, float) else "", "from 1 / cap" if low is None else ""]
    words += [f"from {low:g}" if isinstance(low, float) and low else ""]
    return _form(title, decide, ", ".join(w for w in words if w))
