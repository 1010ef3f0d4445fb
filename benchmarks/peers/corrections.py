# ruff: noqa: E501 - tables of cases, one a line
"""The weights of every correction against the functions of the installed trainers, on seeded random batches.

    python benchmarks/peers/corrections.py [--out corrections.csv] [--only verl]

Each trainer's own function is imported from the installed release and called; a trainer that is not installed is left
out, and said to be. What is compared is a token's weight times its mask, or the token's weight in the loss.
"""

from __future__ import annotations

import stand_ins

stand_ins.install()

import argparse  # noqa: E402
import csv  # noqa: E402
import importlib.util  # noqa: E402
from collections.abc import Callable  # noqa: E402
from functools import partial  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402
from types import SimpleNamespace  # noqa: E402
from typing import Any, Literal  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402

jax.config.update("jax_enable_x64", True)

from gradvar.pieces import corrections, surrogates  # noqa: E402
from gradvar.testing.peers.stand_ins import StandIns  # noqa: E402

FIELDS = ("trainer", "version", "function", "setting", "piece", "batches", "binding", "largest_difference")
BATCHES, SHAPE = 20, (8, 6)  # rollouts and tokens of each
Arrays = dict[str, np.ndarray]
Weights = Callable[[Arrays], Any]
VERL, CORE = "verl.trainer.ppo.rollout_corr_helper", "verl.trainer.ppo.core_algos"
SKYRL = "skyrl.backends.skyrl_train.utils.off_policy_correction_utils"
AREAL, ACTOR = "areal.utils.functional.functional", "areal.trainer.ppo.actor"
TRL, TOPR = "trl.trainer.grpo_trainer", "trinity.algorithm.policy_loss_fn.topr_policy_loss"


def batch(seed: int) -> Arrays:
    """Three policies' log-probabilities, apart on both sides, advantages by rollout, and rollouts of unequal length."""
    rng = np.random.default_rng(seed)
    old = -rng.gamma(2.0, 0.6, SHAPE)
    lengths = rng.integers(1, SHAPE[1] + 1, SHAPE[0])
    return {
        "logp_old": old,
        "logp_sampler": np.minimum(old + rng.normal(0, 0.4, SHAPE), -1e-3),
        "logp": np.minimum(old + rng.normal(0, 0.3, SHAPE), -1e-3),
        "advantages": np.broadcast_to(rng.normal(0, 1.0, (SHAPE[0], 1)), SHAPE).copy(),
        "mask": np.arange(SHAPE[1]) < lengths[:, None],
    }


def tensors(arrays: Arrays) -> SimpleNamespace:
    """The arrays as PyTorch tensors, with the log-ratio of trainer to engine."""
    import torch

    made = {name: torch.as_tensor(x) for name, x in arrays.items()}
    return SimpleNamespace(**made, ratio=made["logp_old"] - made["logp_sampler"], real=made["mask"].double())


def verl_weights(level: str, threshold: Any, normalise: bool = False) -> Weights:
    """``compute_rollout_correction_weights``."""

    def weights(arrays: Arrays) -> Any:
        t, module = tensors(arrays), importlib.import_module(VERL)
        return module.compute_rollout_correction_weights(t.ratio, t.real, level, threshold, normalise)[0]

    return weights


def verl_rejects(rule: str, threshold: Any) -> Weights:
    """``compute_rollout_rejection_mask``."""

    def weights(arrays: Arrays) -> Any:
        t, module = tensors(arrays), importlib.import_module(VERL)
        return module.compute_rollout_rejection_mask(t.ratio, t.real, rule, threshold)[0]

    return weights


def verl_loss(name: str, **settings: Any) -> Weights:
    """A policy loss's token weights by PyTorch's derivative; ``settings`` are of the policy loss, or of the clip."""

    def weights(arrays: Arrays) -> Any:
        import torch

        t, module = tensors(arrays), importlib.import_module(CORE)
        config = _Config(
            clip_ratio=0.2, clip_ratio_low=0.2, clip_ratio_high=0.2, clip_ratio_c=3.0, global_batch_info={},
        )  # fmt: skip
        for key, value in settings.items():
            config[key] = value
        logp = t.logp.clone().requires_grad_()
        torch.manual_seed(0)
        old = t.logp_old if name.endswith("cov") else t.logp_sampler
        loss = getattr(module, f"compute_policy_loss_{name}")(
            old, logp, t.advantages, t.real, "seq-mean-token-sum", config
        )[0]
        loss.backward()
        return -SHAPE[0] * logp.grad

    return weights


class _Config(dict):
    """Settings that are read as attributes, by ``get``, and that lead on to further ones."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name, self if name == "policy_loss" else None)


def skyrl(function: str, *arguments: Any, **settings: Any) -> Weights:
    """One of SkyRL's, with a configuration of these thresholds."""

    def weights(arrays: Arrays) -> Any:
        t, config = tensors(arrays), SimpleNamespace(**settings)
        made = getattr(importlib.import_module(SKYRL), function)
        return made(t.logp_old, t.logp_sampler, t.real, *arguments, config)[0].double() * t.real

    return weights


def of_areal(module: str) -> Any:
    """A module of AReaL, which imports servers and loggers that its functions here never call."""
    empty = StandIns()
    for name in ("flask", "lark", "openai", "pybase64", "swanlab", "tabulate", "trackio", "werkzeug"):
        if importlib.util.find_spec(name) is None:
            empty.add(name)
    made = importlib.import_module(module)
    empty.remove()
    return made


def areal(**settings: Any) -> Weights:
    """``apply_rejection_sampling``."""

    def weights(arrays: Arrays) -> Any:
        t, module = tensors(arrays), of_areal(AREAL)
        config = SimpleNamespace(**({"agg": "mean", "lower": None, "upper": None} | settings))
        return module.apply_rejection_sampling(
            t.logp_old, t.logp_sampler, t.mask, None, config
        ).behave_imp_weight

    return weights


def areal_m2po(threshold: float) -> Weights:
    """``_apply_m2po_masking``."""

    def weights(arrays: Arrays) -> Any:
        t, module = tensors(arrays), of_areal(ACTOR)
        return module._apply_m2po_masking(t.logp_sampler, t.logp_old, t.mask, threshold).double()

    return weights


def areal_log_linear(version_now: int, drawn: int) -> Weights:
    """The proximal log-probabilities of ``compute_prox_logp_approximations``, all tokens drawn at one version."""

    def weights(arrays: Arrays) -> Any:
        import torch

        t, module = tensors(arrays), of_areal(ACTOR)
        versions = torch.full(SHAPE, drawn)
        made = module.compute_prox_logp_approximations(
            t.logp_sampler, t.logp, versions, version_now, "loglinear"
        )
        return (t.logp - made["loglinear"]).exp() * t.advantages

    return weights


def trl_vespo(arrays: Arrays) -> Any:
    """``get_gamma_weights`` of the whole ratio, current policy to engine."""
    t, trainer = tensors(arrays), importlib.import_module(TRL).GRPOTrainer
    change = t.logp - t.logp_sampler
    return trainer.get_gamma_weights(t.advantages[:, :1], change, t.real, None) * t.advantages


def trl_opsm(arrays: Arrays) -> Any:
    """``get_off_policy_mask``."""
    t, trainer = tensors(arrays), importlib.import_module(TRL).GRPOTrainer
    return trainer.get_off_policy_mask(t.advantages[:, :1], t.logp, t.logp_sampler, t.real, 0.1).expand(SHAPE)


def trinity_topr(arrays: Arrays) -> Any:
    """The token weights of its loss, one rollout at a time: it averages over tokens."""
    t, module = tensors(arrays), importlib.import_module(TOPR)
    loss = module.TOPRPolicyLossFn(backend="verl", loss_agg_mode="seq-mean-token-sum")
    logp = t.logp.clone().requires_grad_()
    loss(logprob=logp, old_logprob=t.logp_sampler, action_mask=t.real, advantages=t.advantages)[0].backward()
    return -SHAPE[0] * logp.grad


def ours(piece: Any, arrays: Arrays) -> np.ndarray:
    """A correction's weights, or the derivative of a surrogate; one prompt holds all rollouts."""
    from gradvar.core.compose import required

    whole = {name: jax.numpy.asarray(x)[None] for name, x in arrays.items()}
    given = {name: whole[name] for name in required(piece)}
    if "logp" in given and not getattr(piece, "func", piece).__module__.endswith("correction_reject"):
        weights = jax.grad(
            lambda x: jax.numpy.where(whole["mask"], piece(**{**given, "logp": x}), 0.0).sum()
        )(whole["logp"])
    else:
        weights = piece(**given)
    return np.asarray(weights)[0]


def rules() -> list[tuple[str, str, str, Weights, Any]]:
    """verl's eleven rules of rejection."""
    cases = []
    levels: tuple[tuple[Literal["token", "sum", "mean", "max"], str], ...]
    levels = (("token", "token"), ("sum", "seq_sum"), ("mean", "seq_mean"), ("max", "seq_max"))
    kinds: tuple[Literal["k1", "k2", "k3"], ...] = ("k1", "k2", "k3")
    for level, name in levels:
        for kind in kinds[level == "max" :]:
            threshold = "0.6_1.5" if kind == "k1" else 0.12
            low, high = (0.6, 1.5) if kind == "k1" else (0.5, 0.12)
            piece = partial(corrections.rejection, divergence=kind, level=level, low=low, high=high)
            rule = f"{name}_{kind}"
            cases.append((VERL, "compute_rollout_rejection_mask", rule, verl_rejects(rule, threshold), piece))
    return cases


def cases() -> list[tuple[str, str, str, Weights, Any]]:
    """Module, function, setting, the trainer's weights and the piece here."""
    c, s = corrections, surrogates
    weights, rejects = "compute_rollout_correction_weights", "apply_rejection_sampling"
    product = partial(c.rejection, divergence="k1", level="sum", low=1 / 1.5, high=1 / 0.6)
    geometric = partial(c.rejection, divergence="k1", level="mean", low=1 / 1.1, high=1 / 0.9)
    return [
        (VERL, weights, "token, 1.5", verl_weights("token", 1.5), partial(c.token_truncation, cap=1.5)),
        (VERL, weights, "token, 0.6_1.5", verl_weights("token", "0.6_1.5"), partial(c.token_band, low=0.6, high=1.5)),
        (VERL, weights, "sequence, 1.5", verl_weights("sequence", 1.5), partial(c.sequence_truncation, cap=1.5)),
        (VERL, weights, "sequence, 0.2_4", verl_weights("sequence", "0.2_4"),
         partial(c.sequence_mask, floor=0.2, cap=4.0)),
        (VERL, weights, "token, normalised", verl_weights("token", 1.5, True),
         c.batch_normalised(partial(c.token_truncation, cap=1.5))),
        (VERL, weights, "sequence, normalised", verl_weights("sequence", 1.5, True),
         c.batch_normalised(partial(c.sequence_truncation, cap=1.5), level="sequence")),
        *rules(),
        (CORE, "compute_policy_loss_dppo_tv", "0.1", verl_loss("dppo_tv", clip_ratio=0.1, clip_ratio_low=0.1, clip_ratio_high=0.1, clip_ratio_c=10.0),
         partial(s.dppo_tv, low=0.1, high=0.1, cap=10.0)),
        (CORE, "compute_policy_loss_dppo_kl", "0.02", verl_loss("dppo_kl", clip_ratio=0.02, clip_ratio_low=0.02, clip_ratio_high=0.02, clip_ratio_c=10.0),
         partial(s.dppo_kl, threshold=0.02, cap=10.0)),
        (CORE, "compute_policy_loss_kl_cov", "share 0.1", verl_loss("kl_cov", kl_cov_ratio=0.1, ppo_kl_coef=0.7),
         partial(s.kl_cov, share=0.1, coefficient=0.7)),
        (CORE, "compute_policy_loss_clip_cov", "all that lie within", verl_loss("clip_cov", clip_cov_ratio=0.99, clip_cov_lb=0.2, clip_cov_ub=3.0),
         partial(s.clip_cov, share=0.99, bounds=(0.2, 3.0))),
        (SKYRL, "compute_tis_ratio", "token, 1.5", skyrl("compute_tis_ratio", "token", token_tis_ratio_clip_high=1.5),
         partial(c.token_truncation, cap=1.5)),
        (SKYRL, "compute_tis_ratio", "sequence, 1.5",
         skyrl("compute_tis_ratio", "sequence", sequence_tis_ratio_clip_high=1.5), partial(c.sequence_truncation, cap=1.5)),
        (SKYRL, "compute_outlier_token_mask", "0.5 to 2",
         skyrl("compute_outlier_token_mask", outlier_token_is_threshold_low=0.5, outlier_token_is_threshold_high=2.0),
         partial(c.outlier_mask, low=0.5, high=2.0)),
        (SKYRL, "compute_sequence_mask", "product, 0.6 to 1.5",
         skyrl("compute_sequence_mask", "product", product_mask_low=0.6, product_mask_high=1.5), product),
        (SKYRL, "compute_sequence_mask", "geometric, 0.9 to 1.1",
         skyrl("compute_sequence_mask", "geometric", geo_mask_low=0.9, geo_mask_high=1.1), geometric),
        (AREAL, rejects, "token, clamp at 1.5", areal(level="token", action="clamp", metric="ratio", upper=1.5),
         partial(c.token_truncation, cap=1.5)),
        (AREAL, rejects, "token, mask, 0.6 to 1.5",
         areal(level="token", action="mask", metric="ratio", lower=0.6, upper=1.5), partial(c.token_band, low=0.6, high=1.5)),
        (AREAL, rejects, "sequence, clamp, 0.9 to 1.1",
         areal(level="sequence", action="clamp", metric="ratio", lower=0.9, upper=1.1),
         partial(c.geometric_ratio, floor=0.9, cap=1.1)),
        (ACTOR, "_apply_m2po_masking", "0.04", areal_m2po(0.04), partial(c.second_moment_mask, threshold=0.04)),
        (ACTOR, "compute_prox_logp_approximations", "loglinear, 3 of 4 steps", areal_log_linear(9, 5),
         s.log_linear_proximal(s.importance_ratio, share=0.75)),
        (TRL, "get_gamma_weights", "its defaults", trl_vespo, s.vespo),
        (TRL, "get_off_policy_mask", "0.1", trl_opsm, partial(c.off_policy_sequence_mask, threshold=0.1)),
        (TOPR, "TOPRPolicyLossFn", "its defaults", trinity_topr, s.topr),
    ]  # fmt: skip


def compare(theirs: Weights, piece: Any) -> tuple[float, float]:
    """The largest difference over the batches, relative to the largest weight, and the share of tokens not at 1."""
    largest, binding = 0.0, []
    for seed in range(BATCHES):
        arrays = batch(seed)
        a, b = np.asarray(theirs(arrays), float), ours(piece, arrays)
        mask = arrays["mask"]
        a, b = np.where(mask, a, 0.0), np.where(mask, np.broadcast_to(b, a.shape), 0.0)
        largest = max(largest, float(np.abs(a - b).max() / max(np.abs(a).max(), 1.0)))
        binding.append(float((a[mask] != 1).mean()))
    return largest, float(np.mean(binding))


def main() -> int:
    """Compare every case and write the table; the exit code is 1 where a weight differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="one trainer")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("corrections.csv"))
    options = parser.parse_args()
    rows, missing = [], set()
    names = {"trinity": "trinity-rft"}
    for module, function, setting, theirs, piece in cases():
        trainer = module.partition(".")[0]
        if options.only not in ("", trainer) or trainer in missing:
            continue
        if importlib.util.find_spec(trainer) is None:
            missing.add(trainer)
            print(f"{trainer}: not installed, left out")
            continue
        difference, binding = compare(theirs, piece)
        name = getattr(getattr(piece, "func", piece), "__name__", str(piece))
        row = (trainer, version(names.get(trainer, trainer)), function, setting, name, BATCHES)
        rows.append(dict(zip(FIELDS, (*row, f"{binding:.2f}", f"{difference:.1e}"), strict=True)))
        print(*rows[-1].values(), sep="  ", flush=True)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return int(any(float(row["largest_difference"]) > 1e-6 for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
