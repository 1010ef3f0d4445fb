"""What engines and corrections cost on a pretrained folder: the last layer's gradient, on sums of two digits.

    python -m benchmarks.pretrained_mismatch FOLDER [--prompts 20] [--rollouts 12] [--engines bfloat16 fp8 ...]

For each engine a bank is recorded, which all corrections share; the losses are those of `gradvar mismatch`, with
jackknife intervals over prompts. The table of benchmarks/MISMATCH.md's last section.
"""

import argparse
import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import gradvar as gv
from gradvar.core.spelling import read_sampler
from gradvar.measure.spelled import corrected_by, sampler_piece
from gradvar.policies.transformer.tokenizer import Tokenizer
from gradvar.stats.direction import direction_losses, effective_share
from gradvar.stats.figures import jackknife_interval

ENGINES = ("bfloat16", "fp8", "top_p:0.9", "temperature:0.8")
CORRECTIONS = (
    "none",
    "tis:2",
    "icepop",
    "seq_tis:2",
    "seq_mask",
    "geo_mask",
    "geo_tis",
    "seq_ratio",
    "vespo",
    "topr",
)
NAMES = ("signal", "trace_cov", "bias_factor", "true_signal")
RESULTS = Path(__file__).with_name("results") / "pretrained_mismatch.csv"


@dataclass(frozen=True)
class Sums:
    """Prompts such as "3+4=", and the reward 1 where a completion holds the sum's digit, of a sum below ten."""

    prompt_tokens: tuple[tuple[int, ...], ...]
    answers: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Sums":
        """All sums of two digits from 1 to 8 that have one digit."""
        pairs = [(a, b) for a in range(1, 9) for b in range(1, 9) if a + b < 10]
        rows = tokenizer.encode([f"1+1=2\n2+3=5\n{a}+{b}=" for a, b in pairs])
        digits = tokenizer.encode([str(a + b) for a, b in pairs])[:, -1]
        return cls(tuple(map(tuple, rows.tolist())), tuple(digits.tolist()))

    def prompts(self, key: Array, num: int) -> Array:
        """Questions drawn without replacement, as tokens."""
        chosen = jax.random.choice(key, len(self.answers), (num,), replace=False)
        return jnp.asarray(self.prompt_tokens)[chosen]

    def reward(
        self, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group"]:
        """1 where the first token is the answer."""
        same = (prompts[:, None] == jnp.asarray(self.prompt_tokens)).all(-1)  # [prompt, question]
        wanted = jnp.asarray(self.answers)[jnp.argmax(same, axis=1)]
        return (completions[..., 0] == wanted[:, None]).astype(jnp.float32)


def losses_of(bank: Any, estimators: list[Any], group: int, batch: int) -> list[dict[str, Any]]:
    """Each estimator's loss on the bank, and by how much it exceeds the first one's on the same rollouts."""
    evaluation = bank.evaluate(estimators, [group], prompts=batch)
    values, left_out, moments_of = [], [], []
    for estimator in estimators:
        moments, parts = evaluation[estimator.name, group], evaluation.parts[estimator.name, group]
        values.append(
            float(direction_losses(*(np.asarray(getattr(moments, name)) for name in NAMES))["loss"])
        )
        moments_of.append({name: float(getattr(moments, name)) for name in NAMES})
        left_out.append(direction_losses(*(parts[name] for name in NAMES))["loss"])  # [block]
    rows = []
    for value, parts, figures in zip(values, left_out, moments_of, strict=True):
        row: dict[str, Any] = dict(figures)
        blocks = len(parts)
        for name, whole, without in (
            ("loss", value, parts), ("more", value - values[0], parts - left_out[0]),
        ):  # fmt: skip
            corrected = blocks * whole - (blocks - 1) * float(without.mean())
            interval = jackknife_interval(corrected, without)
            row |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append(row)
    return rows


def main() -> None:
    """Record a bank for each engine and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--rollouts", type=int, default=12)
    parser.add_argument("--group", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16, help="prompts of the batch that losses are about")
    parser.add_argument("--tokens", type=int, default=2)
    parser.add_argument("--engines", nargs="+", default=ENGINES)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    policy, params, tokenizer = gv.policies.Transformer.from_pretrained(
        options.folder, completion_length=options.tokens
    )
    if tokenizer is None:
        raise ValueError(f"folder: {options.folder} has no tokenizer.json; give a folder with one")
    part, trained = gv.policies.last_layers(policy, params, 1)
    task = Sums.of(tokenizer)
    estimators = [corrected_by(gv.catalogue.get("dr_grpo"), text) for text in CORRECTIONS]
    rows = []
    for text in options.engines:
        started, sampler = time.perf_counter(), sampler_piece(read_sampler(text), tuple)
        bank = gv.measure.record(
            part, trained, task, jax.random.key(0), options.prompts, options.rollouts,
            estimators=estimators, sampler=sampler,
        )  # fmt: skip
        kept = bank.rollouts
        drawn = kept.logp if kept.logp_sampler is None else kept.logp_sampler
        change = np.where(kept.mask, drawn - kept.logp, 0.0)  # nats, as the engine reports them
        size = {
            "engine": text, "nats_per_token": change.sum() / kept.mask.sum(),
            "mean_abs": np.abs(change).sum() / kept.mask.sum(),
            "effective": effective_share(-change.sum(-1).ravel()), "reward": kept.rewards.mean(),
        }  # fmt: skip
        for name, row in zip(
            CORRECTIONS, losses_of(bank, estimators, options.group, options.batch), strict=True
        ):
            rows.append(size | {"correction": name} | row)
            numbers = "  ".join(f"{key} {value:.4g}" for key, value in row.items())
            print(f"{text:16} {name:10} {numbers}", flush=True)
        words = {key: f"{value:.4g}" for key, value in size.items() if key != "engine"}
        print(f"{text}: {words}, {time.perf_counter() - started:.0f} s", flush=True)
        with options.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
