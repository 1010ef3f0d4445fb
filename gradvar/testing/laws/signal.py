"""Laws of advantages that say something at all: unequal rewards differ, arrays matter, one baseline for a group."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from gradvar.testing import strategies as gen
from gradvar.testing.digits import exact, shown
from gradvar.testing.laws import examples
from gradvar.testing.laws.base import Example, Law, close, expect
from gradvar.testing.laws.examples import Likeness, shared
from gradvar.testing.laws.traits import packed_roles, takes_groups
from gradvar.testing.targets import AdvantageTarget


def unequal_rewards_differ(target: AdvantageTarget, group: tuple[float, ...]) -> None:
    """A rollout that is better than all others of its prompt does not get what they get.

    Broken by a constant, by zeros: by a reward that is masked away before it is summed, by an integer array that
    takes the result. The loss is zero, the log looks calm, and nothing is learnt. Report: huggingface/trl#5338,
    AgentR1/Agent-R1#65.
    """
    a = target([group])[0]
    expect(
        bool(np.ptp(a) > 1e-6) or not np.all(np.isfinite(a)),
        f"{exact(group)} -> {shown(a)}: the best gets what the others get",
    )


def one_baseline(target: AdvantageTarget, group: tuple[float, ...], shift: float) -> None:
    """The rewards of a group are all compared with something, or none is.

    Checked by adding one constant to all of them: either every advantage keeps, or none of those it moved by the
    whole constant. Broken by an estimator that writes its result into a copy of the scores and leaves the rest as
    they were: raw rewards are trained on beside centred ones. Report: hiyouga/EasyR1#585.
    """
    before, after = target([group])[0], target([tuple(r + shift for r in group)])[0]
    small = 1e-6 * max(1.0, float(np.max(np.abs(group))), abs(shift))
    raw = np.abs(after - before - shift) <= small
    compared = (np.abs(after - before) <= small) & (np.abs(before) > small)
    expect(
        not (raw.any() and compared.any()),
        f"{exact(group)} -> {shown(before)}, with {shift:g} added -> {shown(after)}: some keep their raw reward, "
        "some are compared",
    )


def arrays_matter(target: AdvantageTarget, role: str) -> None:
    """What is taken changes the advantages: group ids, the number of rollouts, the mask.

    Broken by a function that is handed the groups and centres over the batch, or is handed a mask and looks at no
    place of it. Report: XU-YIJIE/grpo-flat#2, THUDM/slime#399.
    """
    if role == "mask":
        rewards = [(0.0, 1.0, 2.0, 4.0)]
        places = np.ones(4, int)
        # a function may give all but the best, or the best alone, nothing: one of either kind ends early
        lengths = ([3, 3, 3, 3], [3, 1, 3, 1])
        masks = (np.arange(4)[None, :] < np.array(n)[:, None] for n in lengths)
        before, after = (target.tokens(rewards, mask=m, places=places)[0] for m in masks)
        text = "a row that ends before its reward"
    else:
        rows = (0.0, 1.0, 3.0, 7.0, 2.0, 12.0)
        cuts = ((0, 3, 6), (0, 2, 4, 6)) if role == "count" else ((0, 2, 6), (0, 4, 6))
        before, after = (np.concatenate(target([rows[i:j] for i, j in pairwise(c)])) for c in cuts)
        text = f"groups cut at {list(cuts[1])} and not at {list(cuts[0])}"
    named = {**target.signature.roles, **target.signature.fields}
    name = next((n for n, r in named.items() if r == role), role)
    expect(
        not close(target, before, after),
        f"'{name}' is taken and ignored: {text} changes none of {shown(before)}",
    )


@shared
def best_of_all(like: Likeness) -> st.SearchStrategy[Example]:
    """A group with one best rollout."""
    size = max(3, like.min_group)
    rewards = [v for v in gen.PLAINEST if v >= 0] if like.domain == "nonnegative" else list(gen.PLAINEST)
    values = st.sampled_from([0.0] if like.domain == "binary" else [r for r in rewards if r < 1])
    rest = st.lists(values, min_size=size - 1, max_size=size).map(tuple)
    return st.fixed_dictionaries({"group": st.tuples(rest, st.booleans()).map(_with_best)})


def _with_best(drawn: tuple[tuple[float, ...], bool]) -> tuple[float, ...]:
    rest, first = drawn
    return (1.0, *rest) if first else (*rest, 1.0)


@shared
def shifted_group(like: Likeness) -> st.SearchStrategy[Example]:
    """A group, and what is added to its rewards."""
    size = max(3, like.min_group)
    group = gen.groups(gen.rewards(like.domain), size, size + 2, mixed=True)
    return st.fixed_dictionaries({"group": group, "shift": st.sampled_from([1.0, 4.0])})


def arrays_taken(target: AdvantageTarget) -> st.SearchStrategy[Example]:
    """The arrays that the function takes beside the rewards."""
    return st.fixed_dictionaries({"role": st.sampled_from(_taken(target))})


def needs_arrays(target: AdvantageTarget) -> str:
    """For functions that take group ids, a count or a mask."""
    return "" if _taken(target) else "it takes the rewards alone"


def needs_groups(target: AdvantageTarget) -> str:
    """For functions that can tell several groups apart in one call."""
    if not target.batched:
        return "one group per call"
    return "" if takes_groups(target) else "it is told no groups"


def _taken(target: AdvantageTarget) -> list[str]:
    takes = target.signature.takes
    taken = [r for r in ("ids", "count") if takes(r) and target.kind not in ("group", "grouped")]
    taken = [r for r in taken if r not in packed_roles(target)]
    if target.min_group > 2:
        taken = []
    return taken[:1] + (["mask"] if takes("mask") and target.kind not in ("group", "grouped") else [])


LAWS = (
    Law("unequal_rewards_differ", unequal_rewards_differ, best_of_all, universal=True),
    Law("one_baseline", one_baseline, shifted_group, examples.needs_real, universal=True),
    Law("arrays_matter", arrays_matter, arrays_taken, needs_arrays, universal=True),
)
