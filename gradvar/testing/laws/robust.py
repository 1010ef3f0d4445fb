"""Laws of advantages about numbers as machines hold them: dtypes, rounding, NaN, scale, groups of one."""

from __future__ import annotations

import numpy as np

from gradvar.testing.calls import Raised
from gradvar.testing.digits import exact, shown, sides
from gradvar.testing.laws import examples
from gradvar.testing.laws.base import NOTICEABLE, ORDER_ONE, Law, Residue, close, expect, expect_pair
from gradvar.testing.laws.examples import Groups
from gradvar.testing.laws.traits import batch_statistics, excused_by_statistics
from gradvar.testing.strategies import rounded
from gradvar.testing.targets import AdvantageTarget


def zero_on_equal_rewards(
    target: AdvantageTarget, group: tuple[float, ...], dtype: str, beside: Groups
) -> None:
    """A prompt that everyone solves, or no one, says nothing: its advantages are zero, in every dtype.

    0.1 x 8 is not: the mean of eight equal floats can miss them by one unit in the last place, and dividing
    by a std of the same rounding size makes it an advantage of order one, on every easy prompt of the
    batch, each step. A residue up to 0.25 is reported and not failed: as a baseline error it has mean zero
    on policy and adds at most a sixteenth to the variance of a group with a signal (``NOTICEABLE``).
    A whitening of the batch in half precision is reported too: its mean is over all rollouts, and a batch of nothing
    but equal rewards is not what it is for. Report: verl-project/verl#4597 (rewards of 0.2), and NVIDIA-NeMo/RL#4161
    for the same noise in a leave-one-out std.
    """
    a = target((group, *beside), dtype)[0]
    worst = float(np.abs(a).max())
    if worst > NOTICEABLE and dtype in ("float16", "bfloat16") and batch_statistics(target):
        raise Residue(f"the whitening of a batch of equal rewards leaves {worst:.2g} in {dtype}", worst)
    expect(bool(worst <= NOTICEABLE), f"{dtype} {in_full(group, dtype)} -> {shown(a)}, expected zeros")
    if worst > 0:
        raise Residue(
            f"leaves up to {worst:.2g} on {len(group)} x {group[0]:.9g} in {dtype} (line: {NOTICEABLE:g})",
            worst,
        )


def finite(target: AdvantageTarget, groups: Groups, dtype: str) -> None:
    """Finite rewards give finite advantages, at any scale that leaves room to square them.

    Broken by a std of zero, a ddof of one with one sample, an exponential of a reward. One NaN advantage
    makes the loss, then every weight of the model, NaN. Report: ruc-datalab/DeepAnalyze#116.
    """
    for g, a in zip(groups, target(groups, dtype), strict=True):
        expect(bool(np.all(np.isfinite(a))), f"{dtype} {exact(g)} -> {shown(a)}")


def singleton_zero(target: AdvantageTarget, reward: float, beside: Groups) -> None:
    """One rollout has nothing to be compared with: zero, or a refusal that says so.

    Filtering leaves such groups behind. Given its raw reward, it is trained as if its baseline were zero;
    given 0/0, the batch is lost. Report: verl-project/verl#7793 (two versions of one estimator disagree
    here), areal-project/AReaL#1705, ruc-datalab/DeepAnalyze#116 (NaN from ddof = 1).
    """
    groups = ((reward,), *beside)
    try:
        a = target(groups)[0]
    except Raised as error:
        expect(error.clear, f"a group of one {error}; expected zero or a ValueError that says why")
        return
    expect(bool(np.abs(a).max() <= 1e-3), f"a group of one, {exact((reward,))} -> {shown(a)}, expected 0")


def dtype_preserved(target: AdvantageTarget, group: tuple[float, ...], dtype: str) -> None:
    """Floating rewards come back in their own dtype.

    Broken upwards, a float64 advantage silently promotes the loss (or stops a compiled step with a dtype
    error); broken downwards, it loses digits. Libraries that promote halves on purpose break it and may say
    so. Report: pfnet/pfrl#8, nikhilbarhate99/PPO-PyTorch#33 (float64 rewards stop the backward pass).
    """
    size = max(target.min_group, len(group))
    returned = target.run([(*group, *group[:1] * size)[:size]], dtype)[1]
    expect(returned == dtype, f"rewards in {dtype} give advantages in {returned}")


def integer_rewards(target: AdvantageTarget, groups: Groups) -> None:
    """A verifier returns 0 and 1 as integers as often as not.

    Broken by an output array made like the input, advantages are truncated: -0.5 and 0.5 become 0 and
    training stops without a word. A refusal is fine, and reported. Report: OpenRLHF/OpenRLHF#1334 (integer
    rewards fail group statistics), PrimeIntellect-ai/prime-rl#2029 (an integer tensor's mean).
    """
    wanted = target(groups)
    try:
        from_integers = target(groups, "int32" if target.library.name == "jax" else "int64")
    except Raised as error:
        raise Residue(f"integers are refused: {error}") from error
    for g, a, b in zip(groups, wanted, from_integers, strict=True):
        # integers may be computed in the library's default float, single precision in PyTorch and JAX
        text = f"{exact(g)} as floats -> {{}}, as integers -> {{}}"
        expect_pair(close(target, a, b, slack=1e3), a, b, text)


def half_precision(target: AdvantageTarget, group: tuple[float, ...], dtype: str) -> None:
    """Rewards in half precision give what they give in full, as far as half precision can hold it.

    Broken by statistics in bfloat16 (eight bits) or an epsilon that is zero in float16: a constant group
    gives NaN, a nearly constant one the wrong baseline. Report: OpenRLHF/OpenRLHF#1334.
    """
    rewards = tuple(rounded(r, dtype) for r in group)
    size = max(target.min_group - len(rewards), 0)
    rewards = rewards + rewards[:1] * size
    wanted, in_half = target([rewards])[0], target([rewards], dtype)[0]
    unit = 2.0**-8 if dtype == "bfloat16" else 2.0**-11
    slack = 16 * unit * max(1.0, np.abs(wanted).max())
    expect_pair(
        bool(np.all(np.abs(wanted - in_half) <= slack)),
        in_half,
        wanted,
        f"{dtype} {exact(rewards)} -> {{}}, in {target.library.wide} {{}}",
    )


def nan_contained(
    target: AdvantageTarget, poisoned: tuple[tuple[float, ...], int, float], beside: Groups
) -> None:
    """One reward that could not be computed costs at most its own group, and there only in the open.

    Fine: a ValueError that says so; a whole group of zeros; the bad row left out, and its siblings as if it
    had never been there. Not fine: a NaN, or an exploded number, on any rollout that had a good reward. Its
    own row may stay NaN for the caller to mask. Broken, one failed reward call makes the whole batch's
    gradient NaN, or zero without a word. Report: modelscope/ms-swift#8123, huggingface/trl#5775.
    """
    group, place, bad = poisoned
    dirty = (*group[:place], bad, *group[place + 1 :])
    rest = (*group[:place], *group[place + 1 :])
    try:
        advantages = target((dirty, *beside))
    except Raised as error:
        expect(error.clear, f"{exact(dirty)} {error}; expected a ValueError that says why")
        return
    siblings = np.delete(advantages[0], place)
    if beside:
        clean = target((group, *beside))[1:]
        for g, a, b in zip(beside, clean, advantages[1:], strict=True):
            text = f"{bad:g} in {exact(dirty)} turns {exact(g)} from {{}} to {{}}"
            expect_pair(close(target, a, b), a, b, text)
    if np.all(advantages[0] == 0):
        return
    bad_advantage = advantages[0][place]
    expect(
        bool(bad_advantage == 0 or not np.isfinite(bad_advantage)),
        f"{exact(dirty)} -> {shown(advantages[0])}: the bad row is trained on",
    )
    try:
        without = target([rest])[0] if len(rest) >= target.min_group else np.zeros(len(rest))
    except Raised:
        without = np.zeros(len(rest))
    one, two = sides(siblings, without)
    excess = "" if one == shown(siblings) else f" get {one}, and"
    expect(
        close(target, siblings, without),
        f"{exact(dirty)} -> {shown(advantages[0])}: its siblings{excess} should get {two} or zeros",
    )
    if bad_advantage != 0:
        raise Residue(f"the bad row itself gets {bad_advantage:g}; mask it before the loss")


def pure(target: AdvantageTarget, groups: Groups) -> None:
    """Same rewards in, same advantages out, and the caller's array is as it was.

    Broken by writing into the argument (scores[i] = ..., -=), the logged rewards are advantages and a
    second epoch normalises them again; broken by a running statistic, a resumed run is another run. Report:
    axon-rl/gem#113 (advantages that were normalised a second time).
    """
    first, _, clean = target.run(groups)
    expect(clean, f"{exact(groups)}: the caller's rewards were overwritten")
    target(tuple(tuple(reversed(g)) for g in groups))
    second = target(groups)
    for g, a, b in zip(groups, first, second, strict=True):
        same = bool(np.array_equal(a, b, equal_nan=True))
        expect_pair(same, a, b, f"{exact(g)} -> {{}}, the second time -> {{}}")


def no_amplification(target: AdvantageTarget, group: tuple[float, ...], dtype: str, near: bool) -> None:
    """Rounding noise never becomes an advantage of order one, and none exceeds both the reward range and G.

    A std of the size of the rounding error, divided by, turns noise into the largest advantages of the
    batch. The line is 0.5 for rewards that differ by two units in the last place at most (half of what a
    mixed group gets), and max(range with zero, G) for any rewards: standardised ones stay under sqrt(G -
    1), centred ones under the range. Report: NVIDIA-NeMo/RL#1518 (1e6), NVIDIA-NeMo/RL#4158 (-2075),
    NVIDIA-NeMo/RL#4161 (7428).
    """
    a = target([group], dtype)[0]
    worst = float(np.abs(a).max())
    if near:
        expect(
            bool(worst <= ORDER_ONE), f"{dtype} {in_full(group, dtype)}: equal but for rounding -> {shown(a)}"
        )
    reach = max(*group, 0.0) - min(*group, 0.0)
    limit = max(reach, len(group)) * 1.01
    expect(bool(worst <= limit), f"{dtype} {exact(group)} -> {shown(a)}: above both the reward range and G")


def masked_inert(target: AdvantageTarget, group: tuple[float, ...], garbage: float) -> None:
    """What stands in the padding reaches no advantage, not even as 0 x NaN.

    Broken by summing token rewards without the mask, or by multiplying with it: a KL penalty or an
    uninitialised number on padding moves every advantage of the group. Report: verl-project/verl#6362.
    """
    size = max(target.min_group, len(group))
    group = (*group, *group[:1] * size)[:size]
    lengths = 1 + np.arange(len(group)) % 3
    clean = target.run([group], lengths=lengths)[0][0]
    dirty = target.run([group], lengths=lengths, garbage=garbage)[0][0]
    text = f"{exact(group)} -> {{}}, with {garbage:g} on the padding -> {{}}"
    expect_pair(close(target, clean, dirty), clean, dirty, text)


def in_full(values: tuple[float, ...], dtype: str) -> str:
    """Rewards in the fewest digits from which the same numbers of the dtype are read.

    >>> in_full((0.1, 2.0), "float64"), in_full((0.1 + 0.2,), "float64"), in_full((0.1 + 0.2,), "float32")
    ('[0.1, 2]', '[0.30000000000000004]', '[0.3]')
    """
    kind = np.float64 if dtype == "float64" else np.float32
    with np.errstate(over="ignore"):
        rewards = (np.array(values, np.float64) + 0.0).astype(kind)  # no minus before a zero
    texts = map(str, rewards)
    return "[" + ", ".join(text.removesuffix(".0") for text in texts) + "]"


LAWS = (
    Law("zero_on_equal_rewards", zero_on_equal_rewards, examples.equal, universal=True),
    Law("finite", finite, examples.scales, universal=True),
    Law("singleton_zero", singleton_zero, examples.singletons, universal=True),
    Law("integer_rewards", integer_rewards, examples.integers, examples.needs_dtypes, universal=True),
    Law("nan_contained", nan_contained, examples.poisoned, universal=True, excused=excused_by_statistics),
    Law("pure", pure, examples.plain, universal=True),
    Law("no_amplification", no_amplification, examples.noisy, universal=True),
    Law("masked_inert", masked_inert, examples.padded, examples.needs_tokens, universal=True),
    Law(
        "dtype_preserved",
        dtype_preserved,
        examples.small,
        examples.needs_dtypes,
    ),
    Law("half_precision", half_precision, examples.halves, examples.needs_halves),
)
