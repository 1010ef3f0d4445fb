"""What notebook 7 draws with: two small policies that are enumerated, and panels of a statement and of what is so."""

from __future__ import annotations

import textwrap
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

import gradvar as gv
from gradvar.symbolic import load, proofs_folder


def answers(chances: Any, rewards: Any, size: int, estimator: gv.Estimator) -> gv.Moments:
    """One prompt with these chances and rewards of its answers."""
    policy = gv.policies.Bandit(len(chances))
    logits = jnp.log(jnp.array(chances))[None]
    return gv.measure.exact(estimator, policy, logits, gv.tasks.Bandit(rewards), group_size=size)


def logits_of(a: Any, b: Any) -> np.ndarray:
    """Logits [case, prefix, token] of going on with chance a, then the first kind of token with chance b."""
    a, b = np.broadcast_arrays(a, b)
    return np.log(np.stack([np.stack([a, 1 - a], -1), np.stack([b, 1 - b], -1)], -2))


def short_or_long(
    a: Any, b: Any, rewards: Any, size: int, estimator: gv.Estimator, ref: Any = None
) -> list[np.ndarray]:
    """E g and grad J [case, logit] for each pair of chances; rewards of (go, first kind), (go, other kind), (stop)."""
    logits = logits_of(a, b)
    cases = len(logits)
    policy = gv.policies.Tabular(2, 2, num_prompts=cases, stop=1)
    task = gv.tasks.Lookup(np.tile(np.array(rewards, float), (cases, 1)), policy.support())
    found = gv.measure.exact(estimator, policy, jnp.array(logits), task, group_size=size, ref_params=ref)
    # Each case is a prompt with parameters of its own, so one enumeration holds them all.
    return [cases * np.reshape(x, (cases, 4)) for x in (found.mean, found.true_gradient)]


def degrees_off(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles between rows."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.degrees(np.arccos(np.clip((first * second).sum(1) / norms, -1, 1)))


claims = {claim.id: claim for claim in load(proofs_folder())}
shown: set[str] = set()  # claims that have a panel


def panel(
    ax: Axes, claim: str, x: str, y: str, bottom: float | None = None, top: float | None = None
) -> None:
    """The statement and the legend above the axes, off every curve; the claim counts as drawn."""
    shown.add(claim)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.set_ylim(bottom, top)
    statement = textwrap.fill(f"{claim}: {claims[claim].title}", 40)
    ax.legend(
        title=statement,
        title_fontproperties={"size": "small", "weight": "bold"},
        alignment="left",
        loc="lower left",
        bbox_to_anchor=(-0.03, 1.0),
        borderaxespad=0.2,
        fontsize="small",
    )


def stated(ax: Axes, x: Any, y: Any, label: str = "the statement") -> None:
    """Dashed orange."""
    ax.plot(x, y, "--", color="C1", lw=2, label=label, zorder=3)


def found(ax: Axes, x: Any, y: Any, label: str = "found", style: str = "-", **more: Any) -> None:
    """Solid blue."""
    ax.plot(x, y, style, **{"color": "C0", "lw": 2, "label": label} | more)
