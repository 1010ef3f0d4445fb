"""What the clip, the KL term and a normalisation of a loss are read as, and which of them are faults."""

import numpy as np
import pytest

from gradvar.testing.digits import shown
from gradvar.testing.laws import Broken, Residue
from gradvar.testing.laws.clip_forms import RATIOS, ClipCurve, form_of
from gradvar.testing.laws.kl_term import DISTANCES
from gradvar.testing.laws.traits import normalises

from .one_example import LOSS_LAWS, outcome, planted, surrogate

CURVES = {  # the weight by the sign of the advantage and the ratio, relative to that at one
    "the ratio without a clip": lambda s, r: r,
    "no ratio in the weights": lambda s, r: 1.0,
    "a mask beyond the clip, on both sides": lambda s, r: r * (0.9 < r < 1.1),
    "PPO's clip": lambda s, r: r * (s * r < s * (1 + 0.2 * s)),
    "PPO's clip, dual": lambda s, r: r * (s * r < s * (1 + 0.2 * s)) * (s > 0 or r < 3),
    "clipped weights (CISPO, TIS)": lambda s, r: min(r, 2.5),
    "smooth weights (SAPO, VESPO)": lambda s, r: 1.1 * r / (1 + 0.1 * r),
    "a form without a name": lambda s, r: r * (r < 1.1) if s > 0 else r,
}


def of_ratio(weight, value=lambda s, r: s * r):
    """A loss whose weights are its advantage times a function of the ratio, and its value a sum of another's."""

    def loss(b):
        ratio, signs = np.exp(b.logp - b.old_logp), np.sign(b.advantages)[:, None] * np.ones(b.logp.shape)
        weights = np.vectorize(lambda s, r: weight(s, r))(signs, np.round(ratio, 12))
        values = np.vectorize(lambda s, r: value(s, r))(signs, ratio) * np.abs(b.advantages)[:, None]
        return np.where(b.mask, values, 0).sum(), np.where(
            b.mask & (signs != 0), weights * np.where(signs, b.advantages[:, None], 1), 0
        )

    return planted(loss)


@pytest.mark.parametrize("name", CURVES)
def test_a_clip_is_read_off_its_curve(name):
    assert form_of(*(curve(CURVES[name], s) for s in (1, -1))) == name
    with pytest.raises(Residue, match="read as ") as caught:
        LOSS_LAWS["clip_form"].check(of_ratio(CURVES[name], lambda s, r: 0.0), tokens=2)
    assert str(caught.value) == f"read as {name}"


def curve(weight, sign):
    return ClipCurve(float(sign), tuple(weight(sign, r) for r in RATIOS), (0.0,) * len(RATIOS))


def test_a_curve_tells_which_side_is_clipped():
    ppo = CURVES["PPO's clip"]
    assert [curve(ppo, s).clips_outward for s in (1, -1)] == [True, True]
    assert [curve(ppo, s).clips_inward for s in (1, -1)] == [False, False]
    wrong = lambda s, r: ppo(-s, r)  # noqa: E731
    assert [curve(wrong, s).clips_outward for s in (1, -1)] == [False, False]
    assert [curve(wrong, s).clips_inward for s in (1, -1)] == [True, True]
    assert not curve(lambda s, r: r * (1 + 2e-3), 1).is_ratio
    assert curve(lambda s, r: r * (1 + 0.9e-3), 1).is_ratio
    assert not curve(lambda s, r: 1 + 1.1e-3, 1).is_constant
    assert curve(lambda s, r: 1 + 0.9e-3, 1).is_constant
    moved = ClipCurve(-1.0, (1.0,) * 7, tuple(range(7)))
    assert (moved.move(2.0), moved.move(0.05), moved.at(20.0)) == (-4.0, 0.0, 1.0)


FAULTY_CLIPS = {
    "wrong side": (lambda s, r: CURVES["PPO's clip"](-s, r), lambda s, r: -abs(np.log(r))),
    "without a minimum": (
        CURVES["a mask beyond the clip, on both sides"],
        lambda s, r: s * s * np.clip(r, 0.8, 1.2),
    ),
    "pushed against": (lambda s, r: r if r < 3 else -0.5, lambda s, r: 0.0),
    "grows beyond": (lambda s, r: r * r, lambda s, r: 0.0),
    "not finite": (lambda s, r: np.inf if r > 10 else r, lambda s, r: 0.0),
}


@pytest.mark.parametrize("name", FAULTY_CLIPS)
def test_a_faulty_clip_is_named(name):
    with pytest.raises(Broken, match=name):
        LOSS_LAWS["clip_form"].check(of_ratio(*FAULTY_CLIPS[name]), tokens=2)


PULLS = {  # by the distance d of the log-probability from the reference's: the cost of a token
    "k2": (lambda d: d, None),
    "k3": (lambda d: 1 - np.exp(-d), None),
    "|k1|": (np.sign, None),
    "k1 weighted by the ratio": (lambda d: 1 + d, None),
    "k2 weighted by the ratio": (lambda d: d + d**2 / 2, None),
    "k1": (np.ones_like, "k1 as a loss pushes every token down alike"),
    "turned": (lambda d: np.exp(d) - 1, "turned around"),
    "alone": (lambda d: -np.exp(-d), "it pushes every token up"),
    "against": (lambda d: -d, "of a wrong sign"),
    "unknown": (lambda d: d**3, "no known estimate"),
}


@pytest.mark.parametrize("name", PULLS)
def test_a_kl_term_is_read_off_its_gradient(name):
    pull, fault = PULLS[name]

    def loss(b):
        distance = np.where(b.mask, b.logp - b.ref_logp, 0)
        value = -0.1 * distance.sum() if name == "k1" else 0.0
        return value, np.where(b.mask, -0.1 * pull(distance), 0) + surrogate(b)[1]

    with pytest.raises(Broken if fault else Residue, match=fault or "read as") as caught:
        LOSS_LAWS["kl_term"].check(planted(loss, "ref_logp"), layout="holes")
    assert fault or str(caught.value) == f"read as {name}"
    if name == "unknown":  # of thirteen tokens
        assert f"tokens are pushed down by {shown(1.3 * DISTANCES**3)}" in str(caught.value)


def test_a_kl_term_is_a_mean_over_tokens_and_each_tokens_own():
    def kl(divisor, pulled=lambda d: d, value=0.0):
        def loss(b):
            distance = np.where(b.mask, b.logp - b.ref_logp, 0)
            return value * distance.sum(), -np.where(b.mask, pulled(distance), 0) / divisor(b)

        return planted(loss, "ref_logp")

    own = lambda b: b.mask.sum(-1, keepdims=True)  # noqa: E731
    whole = lambda d: d.sum(-1, keepdims=True)  # noqa: E731
    for divisor in (lambda b: 1.0, own, lambda b: 1 / own(b), lambda b: b.mask.sum()):
        assert outcome(LOSS_LAWS["kl_term"], kl(divisor), layout="right") is Residue
    for divisor, message in (
        (lambda b: b.mask.size, "padded matrix"),
        (lambda b: 1 + np.arange(4)[:, None], "no mean over tokens or rollouts"),
    ):
        with pytest.raises(Broken, match=message):
            LOSS_LAWS["kl_term"].check(kl(divisor), layout="right")
    # what the whole rollout is far from pulls all its tokens alike, or one of them alone; a mixture is neither
    assert outcome(LOSS_LAWS["kl_term"], kl(own, whole), layout="right") is Residue
    mixed = kl(own, lambda d: d + 0.5 * whole(d))
    assert outcome(LOSS_LAWS["kl_term"], mixed, layout="right") is Broken
    with pytest.raises(Broken, match="no gradient"):
        LOSS_LAWS["kl_term"].check(kl(lambda b: np.inf, value=1e-3), layout="right")
    with pytest.raises(Residue, match="no influence"):
        LOSS_LAWS["kl_term"].check(kl(lambda b: np.inf), layout="right")


def test_a_normalisation_inside_the_loss_is_recognised():
    def scaled(normalised):
        return planted(lambda b: (0.0, normalised(b.advantages)[:, None] * b.mask))

    deviations = lambda a: a - a.mean()  # noqa: E731
    assert normalises(scaled(lambda a: deviations(a) / (a.std() + 1e-4))) == "standardised"
    assert normalises(scaled(deviations)) == "centred"
    assert normalises(scaled(lambda a: a)) == ""
    assert normalises(scaled(lambda a: 0 * a)) == ""
    assert normalises(scaled(lambda a: np.sign(a))) == ""
    assert normalises(scaled(lambda a: np.tanh(deviations(a)))) == ""
    assert normalises(scaled(lambda a: np.nan * a)) == ""


def test_weights_that_fade_are_no_clip():
    fading = of_ratio(lambda s, r: np.exp(-30 * np.log(r) ** 2), lambda s, r: 0.0)
    with pytest.raises(Residue, match="smooth weights that fade, advantage"):
        LOSS_LAWS["clip_form"].check(fading, tokens=2)
    assert not curve(lambda s, r: np.exp(-30 * np.log(r) ** 2), 1).is_ratio
