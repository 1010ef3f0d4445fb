"""Products of gradients that have not met each other: no interval of what most samples have not seen."""

from dataclasses import replace

import numpy as np
import pytest

from gradvar.files.cache import read_arrays, write_arrays
from gradvar.measure.advise.group_size import advise
from gradvar.measure.advise.optimum import optimal_size
from gradvar.measure.bank.pair_kernel import joint_squares, prompt_numbers, squared_kernel
from gradvar.measure.bank.summary import Budget, Summary
from gradvar.stats.effective import FEWEST, effective_number, too_few
from gradvar.stats.figures import BlockSums, effective_blocks, figures, leave_one_out, pivots
from gradvar.stats.meetings import directions_met, pairs_met
from tests.measure.scenes import summary_of

RARE, WORTH = 0.01, 50.0


def drawn(rng: np.random.Generator, pairs: int, worth: float = WORTH) -> np.ndarray:
    """Gradients [pair, 2, 64] of 32 prompts, in two directions of each: half are 1, one in a hundred is worth."""
    u = rng.random((pairs, 2))
    amount = np.stack([(u < 0.5) * 1.0, (u > 1 - RARE) * worth], -1)
    place = rng.integers(32, size=pairs)[:, None] * 2
    gradients = np.zeros((pairs, 2, 64))
    for axis in (0, 1):
        np.put_along_axis(
            gradients, np.broadcast_to(place + axis, (pairs, 2))[..., None], amount[..., axis : axis + 1], -1
        )
    return gradients


def blocks_of(gradients: np.ndarray, size: int = 2) -> BlockSums:
    """Block sums of ``size`` pairs each."""
    squares = (gradients**2).sum(-1)

    def into_blocks(x: np.ndarray) -> np.ndarray:
        return x.reshape(-1, size, *x.shape[1:]).sum(1)

    sums = into_blocks(gradients.sum(1))
    return BlockSums(
        np.full(len(sums), 2.0 * size), sums @ sums.T, into_blocks(squares.sum(1)),
        into_blocks((gradients[:, 0] * gradients[:, 1]).sum(-1)), sums @ np.ones(64), np.array(64.0), True,
        joint=into_blocks(squares[:, 0] * squares[:, 1]),
    )  # fmt: skip


def test_no_part_between_prompts_of_gradients_that_never_met():
    """Half of it is in pairs that no sample of this size has met; those that were met agree, and would be believed."""
    truth = 0.5**2 + (RARE * WORTH) ** 2 - (0.5**2 + (RARE * WORTH) ** 2) / 32
    missed, refused = 0, 0
    for seed in range(20):
        sums = blocks_of(drawn(np.random.default_rng(seed), 256))
        values, parts = figures(sums).values, leave_one_out(sums)
        low, high = pivots(values, parts, effective_blocks(sums))["between"].bounds(values["between"])
        missed += not low <= truth <= high
        assert effective_number(sums.pairs) > 30
        refused += bool(too_few(float(effective_blocks(sums)["between"])))
    assert (missed, refused) == (20, 20)


def test_prompts_that_give_nothing_are_no_reason_to_refuse():
    """Four prompts in five are dead: gradients are rare there too, but where there is one there is another."""
    rng = np.random.default_rng(1)
    gradients = drawn(rng, 512, worth=1.0) * (rng.random(512) < 0.2)[:, None, None]
    sums = blocks_of(gradients, 8)
    assert float(pairs_met(sums.joint, sums.squares, sums.count)) > 2
    assert effective_blocks(sums)["between"] > FEWEST


def test_gradients_too_small_for_single_precision_are_not_refused():
    """Fourth powers of 1e-10 vanish there, and say nothing."""
    assert float(pairs_met(np.zeros(8), np.full(8, 2e-20), np.full(8, 2.0))) == 1.0


def test_large_sums_in_directions_of_their_own_count_less():
    sums = (
        np.eye(16)[np.arange(40) % 8] + 30 * np.eye(16)[8 + np.arange(40) % 8] * (np.arange(40) < 8)[:, None]
    )
    assert float(directions_met(sums @ sums.T)) < 0.01
    together = sums + 30 * np.eye(16)[0] * (np.arange(40) < 8)[:, None]
    assert float(directions_met(together @ together.T)) > 1
    noise = np.random.default_rng(0).normal(size=(300, 8)) * np.random.default_rng(1).exponential(
        size=(300, 1)
    )
    assert float(directions_met(noise @ noise.T)) == pytest.approx(1, abs=0.1)


CHANCES, REWARDS = np.array([0.49, RARE, 0.5]), np.array([1.0, WORTH, 0.0])


def optimum_listed() -> float:
    """G* of leave-one-out where each prompt has parameters of its own, from sums over all pairs of answers."""
    scores = np.eye(3) - CHANCES
    slope = (CHANCES * REWARDS) @ scores
    kernel = (
        (REWARDS[:, None, None] - REWARDS[:, None]) * (scores[:, None] - scores) / 2
    )  # [answer, answer, param]
    given_one = np.einsum(
        "aj,b->aj", np.einsum("abj,b->aj", kernel, CHANCES), [1.0]
    )  # E[h | the first answer]
    single = CHANCES @ (given_one**2).sum(-1) - slope @ slope
    double = CHANCES @ (kernel**2).sum(-1) @ CHANCES - slope @ slope
    between = float(slope @ slope)
    return float(optimal_size(Budget(between, 4 * single, 2 * double - 4 * single, 0.0), 0.0))


def bank_numbers(seed: int, prompts: int = 60, rollouts: int = 16) -> Summary:
    """The summary of a bank of such prompts, whose gradients are orthogonal."""
    answers = np.random.default_rng(seed).choice(3, size=(prompts, rollouts), p=CHANCES)
    scores, rewards = (np.eye(3) - CHANCES)[answers], REWARDS[answers]
    gram = scores @ scores.swapaxes(1, 2)
    pair = squared_kernel(rewards, gram)
    numbers = prompt_numbers(rewards, gram, pair)
    return Summary(
        rewards=rewards, length=np.ones(prompts), gradients=np.diag(numbers["signal"]), se={}, on_policy=True,
        joint=joint_squares(pair), **numbers,
    )  # fmt: skip


def test_no_best_size_of_gradients_that_never_met():
    """A rare 50 decides the spread between prompts; a bank that has no two of them on a prompt was sure of it."""
    truth, wrong, given = optimum_listed(), 0, 0
    for seed in range(16):
        summary = bank_numbers(seed)
        before, after = advise(replace(summary, joint=None)).optimum, advise(summary)
        wrong += before.known and before.excludes(truth)
        given += after.optimum.known
        assert not after.optimum.excludes(truth)
        assert after.optimum.known or "record more rollouts of each prompt" in str(after)
    assert wrong >= 4
    assert 0 < given < 16


def test_a_saved_summary_says_what_has_met_and_an_older_file_does_not(tmp_path):
    summary = bank_numbers(1)
    assert Summary.open(summary.save(tmp_path / "new")).met() == summary.met() < 0.1
    older = Summary.open(replace(summary, joint=None).save(tmp_path / "older"))
    assert (older.joint, older.met()) == (None, 1.0)


@pytest.mark.parametrize(
    "facts", [{"kind": "bank"}, {"kind": "tables"}, {"on_policy": 1}, {"on_policy": None}]
)
def test_a_file_of_another_kind_is_no_summary(tmp_path, facts):
    """However well its arrays fit."""
    summary = summary_of(*np.ones((3, 4)))
    arrays, told = read_arrays(summary.save(tmp_path / "one.safetensors"))
    write_arrays(tmp_path / "other.safetensors", arrays, told | facts)
    with pytest.raises(
        ValueError, match=r"is no summary \(another kind of file\); give what Summary.save wrote"
    ):
        Summary.open(tmp_path / "other.safetensors")
    write_arrays(tmp_path / "other.safetensors", arrays, told)
    assert Summary.open(tmp_path / "other.safetensors").on_policy
