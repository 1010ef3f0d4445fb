"""Estimates of the KL divergence between policy and reference: k1, k2, k3 and their relatives, or from logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gradvar.testing.kinds.averages import averages_of, observed
from gradvar.testing.kinds.base import Answer, Kind, KindTarget, KnownForm
from gradvar.testing.kinds.common import EMPTY_ROWS, EVERY, finite_law, masked_law
from gradvar.testing.kinds.draws import Draw, Plan, Rows, Scene, Unit, holes, right
from gradvar.testing.signatures import SignatureError

POLICY = (-1.0, -0.5, -2.0, -0.75, -1.5)
REFERENCE = (-1.3, -0.4, -1.9, -0.9, -0.65)
LOGITS = (0.0, 1.0, -1.0, 0.4, 2.0)
GAPS = (0.3, -0.1, 0.6, -0.775, 1.2)


def plan(target: KindTarget) -> Plan:
    """Rows of unequal length; the reference stands off on both sides."""
    drawn: dict[str, Unit] = {
        "logp": Draw("NT", POLICY), "old_logp": Draw("NT", POLICY), "ref_logp": Draw("NT", REFERENCE),
        "log_ratio": Draw("NT", GAPS), "logits": Draw("NTV", LOGITS), "ref_logits": Draw("NTV", LOGITS[::-1]),
        "mask": Rows(right), "beta": Draw("", (0.1, 0.5)), "kl_coef": Draw("", (0.1, 0.5)),
        "token_count": Draw("", (10.0, 7.0)),
    }  # fmt: skip
    return {role: draw for role, draw in drawn.items() if target.takes(role)}


def gap_of(scene: Scene) -> np.ndarray:
    """log pi less log pi_ref, for each token."""
    if "log_ratio" in scene:
        return np.asarray(scene["log_ratio"], float)
    policy = scene["logp"] if "logp" in scene else scene["old_logp"]
    return np.asarray(policy, float) - np.asarray(scene["ref_logp"], float)


ESTIMATES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "k1": lambda d: d,
    "k2": lambda d: 0.5 * d**2,
    "k3": lambda d: np.exp(-d) + d - 1,
    "abs": np.abs,
}
FAULTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "k3 reversed": (
        lambda d: np.exp(d) - d - 1,
        "the log-ratio of k3 is reversed: on the policy's own samples this is no estimate of the KL",
    ),
    "k3 without its -1": (
        lambda d: np.exp(-d) + d,
        "the -1 of k3 is missing: it is 1 where the policies agree",
    ),
    "k3 plus": (lambda d: np.exp(-d) - d - 1, "the log-ratio of k3 has the wrong sign in one of its places"),
    "ratio less one": (lambda d: np.exp(d) - 1, "it is the ratio less one: its mean is zero at any distance"),
    "reverse ratio less one": (
        lambda d: np.exp(-d) - 1,
        "it is the ratio less one: its mean is zero at any distance",
    ),
}


def full_kl(scene: Scene, forward: bool = False) -> np.ndarray:
    """The exact KL for each token from logits: policy against reference, or the other way round."""
    logs = [_log_softmax(np.asarray(scene[r], float)) for r in ("logits", "ref_logits")]
    one, two = logs[::-1] if forward else logs
    return (np.exp(one) * (one - two)).sum(-1)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _leading(target: KindTarget) -> tuple[str, ...]:
    """The roles whose derivative is compared: the policy's, where the function differentiates it."""
    return tuple(r for r in ("logp", "log_ratio", "logits") if target.takes(r))


def _weight(scene: Scene) -> float:
    return float(scene["kl_coef"] if "kl_coef" in scene else scene.get("beta", 1.0))


def _weighted(cell: Callable[[Scene], np.ndarray]) -> Callable[[Scene], np.ndarray]:
    return lambda scene: _weight(scene) * cell(scene)


def forms(target: KindTarget) -> Sequence[KnownForm]:
    """Every estimate, averaged in every way, with its own derivative, that of k2, or none at all."""
    roles = _leading(target)
    if target.takes("logits"):
        exact: dict[str, Callable[[Scene], np.ndarray]] = {
            "full": full_kl,
            "full forward": lambda s: full_kl(s, True),
        }
        if not target.takes("ref_logits"):
            return []
        cells = {n: _weighted(f) for n, f in exact.items()}
        return averages_of(target, "", cells, {}, roles) + _rewards_only(averages_of(target, "", cells, {}))

    def cell(estimate: Callable[[np.ndarray], np.ndarray]) -> Callable[[Scene], np.ndarray]:
        return lambda s: _weight(s) * estimate(gap_of(s))

    every = {**ESTIMATES, **{n: f for n, (f, _) in FAULTS.items()}}
    faults = {n: words for n, (_, words) in FAULTS.items()}
    cells = {n: cell(f) for n, f in every.items()}
    out = averages_of(target, "", cells, faults, roles)
    through = {n: cell(ESTIMATES["k2"]) for n in ("k1", "k3")}
    out += averages_of(target, "", {n: cells[n] for n in through}, {}, roles, through)
    out += _rewards_only(averages_of(target, "", cells, faults))
    return sorted(out, key=lambda form: bool(form.fault))


def _rewards_only(forms: Sequence[KnownForm]) -> list[KnownForm]:
    """Estimates without a derivative, as a reward takes them: only those for each token or row."""

    def still(form: KnownForm) -> Callable[[Scene], Answer]:
        def answer(scene: Scene) -> Answer:
            out = form.answer(scene)
            for role in ("logp", "log_ratio", "logits"):
                if role in scene:
                    out[f"gradient of {role}"] = np.zeros(np.shape(scene[role]))
            return out

        return answer

    kept = [f for f in forms if "for each" in f.note]
    return [KnownForm(f.name, still(f), f"{f.note}, no gradient", f.fault) for f in kept]


def observe(target: KindTarget, scene: Scene) -> Answer:
    """The estimate and its derivative by the policy."""
    return observed(target, scene, _leading(target))


def _fits(roles: frozenset[str]) -> bool:
    pair = bool({"logp", "old_logp"} & roles) and "ref_logp" in roles
    exact = {"logits", "ref_logits"} <= roles
    return (pair or exact) and not {
        "rewards",
        "token_rewards",
        "advantages",
        "sampler_logp",
        "values",
    } & roles


def _confirmed(roles: frozenset[str], target: Callable[[], KindTarget]) -> bool:
    """With beta and a mask it may be a loss of pairs, chosen rows first: only a known estimate is one."""
    if not {"beta", "mask"} <= roles:
        return True
    try:
        return target().form is not None
    except SignatureError:
        return False


KL = Kind(
    "kl",
    "an estimate of the KL: logp, ref_logp (or logits), mask -> for each token, or averaged",
    _fits,
    plan,
    observe,
    forms,
    (
        *EVERY,
        masked_law(lambda steps: [*right(steps), *holes(steps)]),
        EMPTY_ROWS,
        finite_law(
            lambda t: {
                "logp": Draw("NT", (-1.0, -20.0, -0.001)), "ref_logp": Draw("NT", (-1.0, -0.001, -20.0)),
            }
        ),
    ),
    sizes=({"N": 1, "T": 3, "V": 3}, {"N": 2, "T": 3, "V": 3}, {"N": 3, "T": 4, "V": 3}),
    matters=("logp", "old_logp", "ref_logp", "log_ratio", "logits", "ref_logits"),
    scaled=True,
    gradients=True,
    confirmed=_confirmed,
)  # fmt: skip
