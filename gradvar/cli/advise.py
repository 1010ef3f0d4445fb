"""``gradvar advise``: the best group size for recorded prompts, or what logged rewards alone can say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradvar.cli.streams import Screen

LARGEST_TABLE = 1 << 30
"""Bytes of a file of numbers at most; dumps, which are read in parts, may be longer."""

if TYPE_CHECKING:
    import numpy as np

    from gradvar.measure.advise.advice import Advice
    from gradvar.measure.advise.from_rewards import RewardAdvice
    from gradvar.measure.bank.summary import Summary


@dataclass(frozen=True)
class Advise:
    """Say which group size buys the most signal at your costs.

    From a saved score bank the answer has intervals. From logged rewards alone it says what they determine:
    how many groups have a signal, and the leave-one-out variance for scores of equal size and small signal.
    """

    bank: Path | None = None
    """Folder of a saved score bank."""
    summary: Path | None = None
    """Or a saved summary of one, a single file (`bank.summary().save(FILE)`)."""
    rewards: Path | None = None
    """Or logged rewards: a .npy, .csv or .json file, one row per prompt, one number per rollout; or a dump, or a folder
    of dumps, as `gradvar audit` reads them."""
    cost_per_prompt: float = 0.0
    """Cost of a prompt (prefill), in any unit."""
    cost_per_rollout: float = 1.0
    """Cost of a rollout (generation), in the same unit."""
    cost_per_update: float = 0.0
    """Cost of a rollout's update (backward pass), in the same unit."""
    group_sizes: tuple[int, ...] = (2, 3, 4, 6, 8, 12, 16, 24, 32)
    """Group sizes to compare."""
    estimators: tuple[str, ...] = ("rloo", "dr_grpo", "grpo", "maxrl", "softmax", "pass_at_k")
    """Estimators to compare by the four-number law, from a bank with binary rewards; names from `gradvar list`."""
    json: Path | None = None
    """Write the advice to this file too."""


def run(config: Advise) -> int:
    """Print the advice; the exit code."""
    from gradvar.files.paths import check_apart, check_file
    from gradvar.files.tables import write_json

    screen = Screen()
    if config.json is not None:
        check_file(config.json, "json")
        check_apart({"json": config.json}, filter(None, (config.rewards, config.summary)))
    if sum(x is not None for x in (config.bank, config.summary, config.rewards)) != 1:
        raise ValueError(
            "bank: give a saved score bank with --bank, its summary with --summary, or logged rewards with "
            "--rewards, one of them"
        )
    if config.rewards is None:
        from gradvar.measure.advise.group_size import advise
        from gradvar.measure.bank.bank import ScoreBank
        from gradvar.measure.bank.summary import Summary

        if config.summary is not None:
            summary = Summary.open(config.summary)
        else:
            assert config.bank is not None
            summary = ScoreBank.open(config.bank).summary()
        advice = advise(
            summary,
            config.cost_per_prompt,
            config.cost_per_rollout,
            cost_per_update=config.cost_per_update,
            group_sizes=config.group_sizes,
        )
        _say(screen, advice)
        content: dict[str, Any] = advice.as_json()
        comparable = summary.binary and summary.on_policy and len(summary.p) >= 4 and advice.best is not None
        if comparable and config.estimators:
            content["estimators"] = _compare(config, summary, screen)
    else:
        from gradvar.measure.advise.group_size import advise

        assert config.rewards is not None
        logged = advise(
            _read_rewards(config.rewards, screen),
            config.cost_per_prompt,
            config.cost_per_rollout,
            cost_per_update=config.cost_per_update,
            group_sizes=config.group_sizes,
        )
        _say(screen, logged)
        content = logged.as_json()
    if config.json is not None:
        write_json(config.json, content)
    return 0


def _say(screen: Screen, advice: Advice | RewardAdvice) -> None:
    """Print the findings, then the table."""
    for sentence in advice.sentences:
        screen.say(sentence)
    if advice.curve:
        print()
        screen.show(advice.sheet(), "--json FILE has them")


def _compare(config: Advise, summary: Summary, screen: Screen) -> list[dict[str, Any]]:
    """Print which estimator buys the most, by the four-number law; the same as plain values."""
    from functools import lru_cache, partial

    import jax
    import jax.numpy as jnp
    import numpy as np

    from gradvar import catalogue
    from gradvar.core.compose import required
    from gradvar.measure.advise.estimator_choice import compare_estimators

    pieces: dict[str, Callable[..., Any]] = {}
    least: dict[str, int] = {}
    for name in config.estimators:
        estimator = catalogue.resolve(name)
        piece = estimator.parts.get("advantage") if estimator.parts else None
        if piece is None or set(required(piece)) != {"rewards"}:
            raise ValueError(
                f"estimators: '{name}' has no advantages that rewards alone determine; leave it out here, "
                "and measure it with bank.evaluate"
            )
        pieces[name], least[name] = piece, max(2, estimator.min_group)

    @lru_cache
    def tables(size: int) -> dict[str, np.ndarray]:
        """Every estimator's advantages for 0 to ``size`` successes [size + 1, size], in one compiled program."""
        fitting = {name: piece for name, piece in pieces.items() if least[name] <= size}
        every = jax.jit(
            jax.vmap(lambda row: {name: piece(rewards=row[None])[0] for name, piece in fitting.items()})
        )
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, every(jnp.tri(size + 1, size, -1)))

    def scheme(name: str, rewards: np.ndarray) -> np.ndarray:
        return tables(rewards.size)[name][int(rewards.sum())][None]

    schemes = {name: partial(scheme, name) for name in pieces}
    ranking = compare_estimators(
        summary, schemes, config.group_sizes, config.cost_per_prompt, config.cost_per_rollout,
        cost_per_update=config.cost_per_update, least=least,
    )  # fmt: skip
    print()
    for sentence in ranking.findings():
        screen.say(sentence)
    print()
    screen.show(ranking.sheet(), "--json FILE has them")
    return ranking.as_json()


def _read_rewards(path: Path, screen: Screen) -> np.ndarray:
    """Rewards [prompt, rollout] from a file of numbers, or from a dump that the audit reads."""
    import numpy as np

    from gradvar.audit import reward_groups
    from gradvar.files.reading import require_plain

    if not path.exists():
        raise ValueError(f"rewards: no file {path}; give a .npy, .csv or .json file, or a dump")
    if path.suffix == ".npy":
        try:
            require_plain(path, LARGEST_TABLE)
            table = np.load(path, allow_pickle=False)
            if not isinstance(table, np.ndarray) or table.dtype.kind not in "biuf":
                raise ValueError("no table of real numbers")
            return table.astype(float)
        except Exception as error:  # whatever NumPy makes of the header, which it reads as Python
            raise _no_table(path, error) from None
    if path.suffix in (".csv", ".json") and path.is_file() and path.stat().st_size <= LARGEST_TABLE:
        text = path.read_text("utf-8", errors="replace")
        if not any(mark in text for mark in ("{", '"')) and not re.search(
            r"[a-zA-Z]{3}", text.lower().replace("nan", "")
        ):
            try:
                if path.suffix == ".json":
                    return np.asarray(json.loads(text), float)
                if text.strip():
                    return np.loadtxt(path, delimiter=",", ndmin=2)
            except (ValueError, TypeError, OSError, OverflowError, RecursionError) as error:
                raise _no_table(path, error) from None
    table, note = reward_groups([path])
    screen.say(note)
    return table


def _no_table(path: Path, error: Exception) -> ValueError:
    line = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return ValueError(f"rewards: {path} cannot be read ({line}); one row per prompt, one number per rollout")
