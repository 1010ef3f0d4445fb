# ruff: noqa: E501 - tables of cases, one a line
"""Every number that our catalogue shares with a trainer, compared with that trainer's number in the same run.

Advantages on random rewards (binary, graded, continuous; 40 batches of 3 groups of 4), and the token
weights of whole estimators: the trainer's advantage through the trainer's loss, differentiated by its own
framework, against ``token_weights`` of ours, on and off policy, with rollouts of unequal length. Double
precision; the largest relative difference is what is reported. Run it with the peers' interpreter: see
README.md."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import adapters  # noqa: E402
import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402

from gradvar import catalogue  # noqa: E402
from gradvar.core.batch import Batch  # noqa: E402
from gradvar.core.compose import compose  # noqa: E402
from gradvar.core.estimator import token_weights  # noqa: E402
from gradvar.pieces import advantage, aggregate, surrogate  # noqa: E402
from gradvar.testing import LossBatch, LossTarget, advantage_target, loss_target  # noqa: E402

PROMPTS, GROUP, TIME, BATCHES = 3, 4, 5, 40
TOLERANCE = 1e-6  # both sides in float64, except where a trainer casts to float32: then 1e-5
SINGLE = {"google-tunix"}

std = partial(advantage.standardised, ddof=1)
opo = advantage.length_weighted

# library, their name, their function, ours
ADVANTAGES: list[tuple[str, str, Callable[..., Any], str, Callable[..., Any]]] = [
    ("trl", "GRPO, scale_rewards=group", adapters.trl_grpo, "standardised(ddof=1, eps=1e-4)", partial(std, eps=1e-4)),
    ("trl", "GRPO, scale_rewards=none", partial(adapters.trl_grpo, scale="none"), "group_mean", advantage.group_mean),
    ("trl", "RLOO", adapters.trl_rloo, "leave_one_out", advantage.leave_one_out),
    ("verl", "grpo", adapters.verl_advantage("grpo"), "standardised(ddof=1, eps=1e-6)", partial(std, eps=1e-6)),
    ("verl", "grpo_vectorized", adapters.verl_advantage("grpo_vectorized"), "standardised(ddof=1, eps=1e-6)", partial(std, eps=1e-6)),
    ("verl", "grpo, no std", adapters.verl_advantage("grpo", norm_adv_by_std_in_grpo=False), "group_mean", advantage.group_mean),
    ("verl", "rloo", adapters.verl_advantage("rloo"), "leave_one_out", advantage.leave_one_out),
    ("verl", "rloo_vectorized", adapters.verl_advantage("rloo_vectorized"), "leave_one_out", advantage.leave_one_out),
    ("verl", "opo", adapters.verl_advantage("opo"), "length_weighted", opo),
    ("openrlhf", "group_norm", adapters.openrlhf_advantage, "standardised(ddof=1, eps=1e-9)", partial(std, eps=1e-9)),
    ("openrlhf", "rloo", partial(adapters.openrlhf_advantage, estimator="rloo"), "leave_one_out", advantage.leave_one_out),
    ("openrlhf", "dr_grpo", partial(adapters.openrlhf_advantage, estimator="dr_grpo"), "group_mean", advantage.group_mean),
    ("torchrl", "MCAdvantage", adapters.torchrl_advantage, "standardised(ddof=1, eps=1e-6, clamp)", partial(std, eps=1e-6, clamp=True)),
    ("google-tunix", "grpo", adapters.tunix_advantage("grpo"), "standardised(ddof=1, eps=1e-6)", partial(std, eps=1e-6)),
    ("google-tunix", "rloo", adapters.tunix_advantage("rloo"), "leave_one_out", advantage.leave_one_out),
    ("google-tunix", "drgrpo", adapters.tunix_advantage("drgrpo"), "group_mean", advantage.group_mean),
]  # fmt: skip


def composed(scale: Callable[..., Any], mean: Callable[..., Any], low: float = 0.2, high: float = 0.2) -> Any:
    """A clipped estimator of ours from an advantage and an aggregation."""
    clip = partial(surrogate.ppo_clip, low=low, high=high)
    return compose(advantage=scale, surrogate=clip, aggregate=mean)


def weights_to_compare() -> Iterator[tuple[str, str, Callable[..., Any], Callable[..., Any], str, Any]]:
    """Library, their name, their advantage, their loss, the name of ours, ours."""
    trl, trl_std = adapters.trl_grpo_loss, partial(std, eps=1e-4)
    grpo = catalogue.get("grpo_sample_std", eps=1e-4)
    yield "trl", "GRPO, loss_type=grpo", adapters.trl_grpo, trl, "grpo_sample_std(eps=1e-4)", grpo
    kl = catalogue.get("grpo_sample_std", eps=1e-4, beta=0.1)
    yield "trl", "GRPO, beta=0.1", adapters.trl_grpo, partial(trl, beta=0.1), "grpo_sample_std(beta=0.1)", kl
    dapo = catalogue.get("dapo", ddof=1, eps=1e-4)
    loss: Callable[..., Any] = partial(trl, loss_type="dapo", high=0.28)
    yield "trl", "GRPO, loss_type=dapo", adapters.trl_grpo, loss, "dapo(ddof=1, eps=1e-4)", dapo
    constant = composed(
        advantage.group_mean, partial(aggregate.constant_length, length=float(adapters.WIDTH))
    )
    loss, centred = partial(trl, loss_type="dr_grpo"), partial(adapters.trl_grpo, scale="none")
    yield "trl", "GRPO, loss_type=dr_grpo", centred, loss, "group_mean, constant_length", constant
    gspo = catalogue.get("gspo", ddof=1, eps=1e-4, clip_low=0.2, clip_high=0.2)
    yield (
        "trl",
        "GRPO, sequence level",
        adapters.trl_grpo,
        partial(trl, level="sequence"),
        "gspo(ddof=1)",
        gspo,
    )
    cispo = compose(
        advantage=trl_std,
        surrogate=catalogue.get("cispo", clip_low=1.0, clip_high=4.0).parts["surrogate"],
        aggregate=aggregate.token_mean,
    )
    loss = partial(trl, loss_type="cispo", high=5.0)
    yield "trl", "GRPO, loss_type=cispo", adapters.trl_grpo, loss, "cispo(ddof=1)", cispo

    verl_std, ours = adapters.verl_advantage("grpo"), partial(std, eps=1e-6)
    dual = compose(advantage=ours, surrogate=dual_clip(), aggregate=aggregate.token_mean)
    yield (
        "verl",
        "grpo, vanilla, token-mean",
        verl_std,
        adapters.verl_loss(),
        "grpo with dual_clip, token_mean",
        dual,
    )
    dual = compose(advantage=ours, surrogate=dual_clip(), aggregate=aggregate.sequence_token_mean)
    loss = adapters.verl_loss("vanilla", "seq-mean-token-mean")
    yield "verl", "grpo, vanilla, seq-mean-token-mean", verl_std, loss, "grpo with dual_clip", dual
    loss = adapters.verl_loss("vanilla", "seq-mean-token-sum")
    dual = compose(
        advantage=advantage.leave_one_out, surrogate=dual_clip(), aggregate=aggregate.sequence_token_sum
    )
    yield (
        "verl",
        "rloo, vanilla, seq-mean-token-sum",
        adapters.verl_advantage("rloo"),
        loss,
        "rloo with dual_clip",
        dual,
    )
    loss = adapters.verl_loss("gspo", "seq-mean-token-mean")
    gspo = catalogue.get("gspo_token", ddof=1, eps=1e-6, clip_low=0.2, clip_high=0.2)
    yield "verl", "grpo, gspo", verl_std, loss, "gspo_token(ddof=1)", gspo

    token = composed(partial(std, eps=1e-9), aggregate.token_mean)
    yield (
        "openrlhf",
        "group_norm, PolicyLoss",
        adapters.openrlhf_advantage,
        adapters.openrlhf_loss,
        "dapo without clip-higher",
        token,
    )
    token = composed(partial(std, eps=1e-6, clamp=True), aggregate.token_mean)
    yield (
        "torchrl",
        "MCAdvantage, GRPOLoss",
        adapters.torchrl_advantage,
        adapters.torchrl_loss,
        "grpo, token_mean",
        token,
    )
    tunix = catalogue.get("grpo_sample_std", eps=1e-6)
    yield (
        "google-tunix",
        "grpo, grpo_loss_fn",
        adapters.tunix_advantage("grpo"),
        adapters.tunix_loss,
        "grpo_sample_std",
        tunix,
    )


def dual_clip() -> Any:
    """Our dual clip with verl's bounds."""
    return partial(surrogate.dual_clip, low=0.2, high=0.2, cap=3.0)


def draws() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rewards [Q, G] and lengths [Q, G]; no group has all rewards equal, where trainers' epsilons differ by
    design."""
    random = np.random.default_rng(20261123)
    for number in range(BATCHES):
        kind = number % 3
        shape = (PROMPTS, GROUP)
        while True:
            rewards = (
                random.integers(0, 2, shape).astype(float),
                random.integers(0, 9, shape) / 8,
                random.normal(size=shape),
            )[kind]
            if np.all(np.ptp(rewards, axis=1) > 0):
                break
        yield rewards, random.integers(1, TIME + 1, shape)


def relative(theirs: np.ndarray, ours: np.ndarray) -> float:
    """The largest difference, relative to the largest entry."""
    return float(np.max(np.abs(theirs - ours)) / max(np.max(np.abs(ours)), 1e-12))


def advantage_rows() -> Iterator[dict[str, Any]]:
    """One row per advantage function."""
    for library, name, function, our_name, ours in ADVANTAGES:
        target = _advantage_target(library, function)
        worst = 0.0
        for rewards, lengths in draws():
            theirs = np.array(target.run(rewards.tolist(), lengths=lengths.ravel())[0])
            named = {"lengths": lengths.astype(float)} if ours is opo else {}
            worst = max(worst, relative(theirs, np.asarray(ours(rewards, **named))))
        yield _row(library, "advantage", name, our_name, worst)


def weight_rows() -> Iterator[dict[str, Any]]:
    """One row per whole estimator."""
    for library, name, their_advantage, their_loss, our_name, estimator in weights_to_compare():
        target = _advantage_target(library, their_advantage)
        loss = loss_target(their_loss, library_name="jax" if library == "google-tunix" else "torch")
        worst = 0.0
        for number, (rewards, lengths) in enumerate(draws()):
            worst = max(worst, relative(*_both(target, loss, estimator, rewards, lengths, number)))
        yield _row(library, "token weights", name, our_name, worst)


def _both(
    target: Any, loss: LossTarget, estimator: Any, rewards: np.ndarray, lengths: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(number)
    mask = np.arange(TIME) < lengths[..., None]
    old = -random.uniform(0.1, 2.0, mask.shape)
    spread = (0.0, 0.05, 0.5)[number % 3]  # on policy, near it, and beyond the clip
    logp, ref = old + spread * random.normal(size=mask.shape), old + 0.1 * random.normal(size=mask.shape)
    theirs = np.concatenate(target.run(rewards.tolist(), lengths=lengths.ravel())[0])
    flat = [x.reshape(-1, TIME) for x in (logp, old, mask, ref)]
    batch = LossBatch(flat[0], flat[1], theirs, flat[2], GROUP, flat[3])
    _, found = loss.weights(batch)
    ours = token_weights(estimator, jax.numpy.asarray(logp), Batch(rewards, old, mask, logp_ref=ref))
    return np.where(flat[2], found, 0.0), np.asarray(ours).reshape(-1, TIME)


def _advantage_target(library: str, function: Callable[..., Any]) -> Any:
    kind = "token-level" if library == "verl" else "num-generations"
    return advantage_target(
        function, signature=kind, library_name="jax" if library == "google-tunix" else "torch"
    )


def _row(library: str, what: str, name: str, ours: str, worst: float) -> dict[str, Any]:
    limit = 1e-5 if library in SINGLE else TOLERANCE
    verdict = "agrees" if worst <= limit else "DIFFERS"
    return {
        "library": library, "version": version(library), "what": what, "theirs": name, "ours": ours,
        "largest_relative_difference": f"{worst:.1e}", "verdict": verdict,
    }  # fmt: skip


def main() -> int:
    """Print and write values.csv; 1 where a number differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "values.csv")
    rows = []
    out = parser.parse_args().out
    for row in (*advantage_rows(), *weight_rows()):
        rows.append(row)
        print(*row.values(), sep="  ", flush=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0 if all(row["verdict"] == "agrees" for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
