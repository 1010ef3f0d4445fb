"""Blocks, chunks and rounds of ``direct`` over gradients that are made of their pair's number, against plain loops."""

from itertools import pairwise
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from gradvar.core.until import Until
from gradvar.measure import direct_rounds, direct_stages, direct_sums
from gradvar.measure.direct_stages import Sums
from gradvar.measure.direct_sums import Work, accumulate, check_finite, num_pairs

PLAN = SimpleNamespace(
    subject=SimpleNamespace(
        params=np.zeros(2)
    ),  # 16 bytes, 48 with the gradients of two estimators and a reference
    estimators=("a", "b"),
    measured=(SimpleNamespace(name="a"), SimpleNamespace(name="b")),
    rehearsal=False,
)
ESTIMATORS, PARAMS = 2, 2
KEY = None  # of the draws, which there are none of
NAMES = ("gradients", "squares", "pairs", "joint", "count")


def gradients_of(pairs):
    """[pair, 2, estimator, param]: numbers that tell the pair, the replicate and the estimator."""
    n = np.asarray(pairs, float)[:, None, None, None]
    which, estimator, param = np.ogrid[:2, :ESTIMATORS, :PARAMS]
    return np.sin(1 + n) + 2 * which - 0.5 * estimator * np.cos(n) + param * (which + 1)


def sums_by_hand(edges):
    """The sums over blocks of pairs between these edges, in loops."""
    found = {name: [] for name in NAMES}
    for begin, end in pairwise(edges):
        first, second = np.moveaxis(gradients_of(np.arange(begin, end)), 1, 0)  # [pair, estimator, param]
        found["gradients"].append((first + second).sum(0))
        a, b = (first**2).sum(-1), (second**2).sum(-1)
        found["squares"].append((a + b).sum(0))
        found["pairs"].append((first * second).sum(-1).sum(0))
        found["joint"].append((a * b).sum(0))
        found["count"].append(2.0 * (end - begin))
    return {name: np.moveaxis(np.array(x), 0, min(1, np.ndim(x) - 1)) for name, x in found.items()}


def check(sums, edges):
    for name, expected in sums_by_hand(edges).items():
        found = np.asarray(getattr(sums, name))
        assert found.shape == expected.shape, name
        np.testing.assert_allclose(found, expected, rtol=1e-10, err_msg=name)


class Devices:
    """So many devices, each with its part of the pairs; nothing is compiled."""

    def __init__(self, size):
        self.size = size

    def at_most(self, chunks):
        return Devices(min(self.size, chunks))

    def over(self, function, shared, arrays):
        parts = zip(*(np.split(np.asarray(x), self.size) for x in arrays), strict=True)
        return jax.tree.map(lambda *x: np.concatenate(x), *(function(*shared, *part) for part in parts))

    def gather(self, sums):
        return sums


def sum_blocks(blocks, number, gradients, pairs):
    """As the compiled one, pair by pair."""
    shapes = {"gradients": (ESTIMATORS, blocks, PARAMS), "count": (blocks,)}
    found = {name: np.zeros(shapes.get(name, (ESTIMATORS, blocks))) for name in NAMES}
    for (first, second), pair in zip(gradients, np.asarray(pairs), strict=True):
        if pair < number:
            block = int(pair * blocks // number)
            a, b = (first**2).sum(-1), (second**2).sum(-1)
            found["gradients"][:, block] += first + second
            found["squares"][:, block] += a + b
            found["pairs"][:, block] += (first * second).sum(-1)
            found["joint"][:, block] += a * b
            found["count"][block] += 2
    return Sums(**found)


@pytest.fixture
def asked(monkeypatch):
    """The numbers of the pairs of each call for gradients."""
    calls = []

    def pair_gradients(plan, devices, key, pairs):
        calls.append(np.asarray(pairs).tolist())
        return gradients_of(pairs)

    for module in (direct_sums, direct_rounds):
        monkeypatch.setattr(module, "pair_gradients", pair_gradients)
        monkeypatch.setattr(module, "choose_devices", Devices)
    monkeypatch.setattr(direct_stages, "sum_blocks", sum_blocks)
    return calls


def limit(monkeypatch, memory, blocks):
    for module in (direct_sums, direct_rounds):
        monkeypatch.setattr(module, "MEMORY", memory)
        monkeypatch.setattr(module, "BLOCKS", blocks)


def test_a_number_of_replicates_in_chunks_of_one_size(monkeypatch, asked):
    """Of 21 pairs: as many at a time as four copies of their gradients fit the memory, and no more filled up
    than need be; blocks as many as fit, but eight at least."""
    heard = []
    for memory, blocks, chunk, devices, size, count in (
        (4 * 48 * 10, 256, None, 1, 7, 21),  # 10 fit: three chunks, and 1920 // 48 blocks would fit
        (4 * 48 * 10, 16, None, 2, 7, 16),
        (4 * 48 * 12, 8, None, 3, 11, 8),  # 12 fit: two chunks, so two devices are enough
        (4 * 48 * 21, 12, None, 1, 21, 12),
        (48 * 9, 256, None, 2, 2, 9),  # 2.25 fit
        (1, 256, None, 2, 1, 8),
        (1 << 28, 256, 5, 1, 5, 21),
    ):
        limit(monkeypatch, memory, blocks)
        asked.clear()
        heard.clear()
        sums = accumulate(PLAN, KEY, 42, Work(chunk, devices, lambda *done: heard.append(done)))
        step = size * min(devices, -(-21 // size))
        assert asked == [list(range(start, start + step)) for start in range(0, 21, step)]
        assert heard == [(2 * min(start + step, 21), 42) for start in range(0, 21, step)]
        check(sums, [-(-21 * b // count) for b in range(count + 1)])


def test_a_rehearsal_is_one_chunk(asked):
    plan = SimpleNamespace(**vars(PLAN) | {"rehearsal": True})
    heard = []
    work = Work(4, 1, lambda *done: heard.append(done))
    sums = accumulate(plan, KEY, 42, work)
    assert (asked, heard) == ([[0, 1, 2, 3]], [])
    assert sums.count.sum() == 8
    asked.clear()
    _, rounds = direct_rounds.accumulate_until(plan, KEY, Until({"snr": 0.1}), work, lambda sums: [])
    assert (len(asked), rounds, heard) == (1, 1, [])


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("chunk", [None, 20, 100])
def test_rounds_make_blocks_of_one_size(monkeypatch, asked, chunk, devices):
    """Blocks of one pair up to 64, then of two up to 64, and so on; what is asked for is rounded to whole rounds."""
    limit(monkeypatch, 1 << 28, 32)
    heard, seen = [], []
    size = {None: 64, 20: 16, 100: 64}[chunk] * devices  # the largest power of two, 64 at most

    def next_size(moments, rounds):
        assert rounds == len(seen)
        return [300, 700, 1500, 5000, 5000][rounds - 1]

    def measure(sums):
        pairs, block = int(sums.count.sum()) // 2, int(sums.count[0]) // 2
        check(sums, range(0, pairs + 1, block))
        seen.append((2 * pairs, block))

    until = SimpleNamespace(most=2000, next_size=next_size)
    work = Work(chunk, devices, lambda *done: heard.append(done))
    sums, rounds = direct_rounds.accumulate_until(PLAN, KEY, until, work, measure)
    # 256 replicates to begin with, then 300, 700, 1500 and 2000 at most, in whole rounds of 128
    assert seen == [(256, 4), (384, 4), (768, 8), (1536, 16), (1920, 16)]
    assert (rounds, sums.count.sum()) == (5, 1920)
    assert {len(pairs) for pairs in asked} == {size}
    assert sorted({pair for pairs in asked for pair in pairs})[:960] == list(range(960))
    assert (heard[0], heard[-1]) == ((2 * min(size, 128), 256), (1920, 1920))


def test_memory_bounds_the_blocks_and_the_chunks_of_rounds(monkeypatch, asked):
    for memory, blocks, chunk in ((48 * 40, 32, 8), (48 * 4 * 2, 16, 2), (1, 16, 1)):
        limit(monkeypatch, memory, 256)
        asked.clear()
        ask = SimpleNamespace(most=256, next_size=lambda moments, rounds: 0)
        sums, rounds = direct_rounds.accumulate_until(PLAN, KEY, ask, Work(devices=1), lambda sums: [])
        assert (rounds, {len(pairs) for pairs in asked}) == (1, {chunk})
        assert blocks // 2 <= len(sums.count) < blocks
        check(sums, range(0, 129, 128 // len(sums.count)))


def test_the_compiled_sums_are_those_of_loops():
    """Of seven pairs in three blocks, and two more that fill up the chunk."""
    sums = direct_stages.sum_blocks(3, 7, gradients_of(np.arange(9)), np.arange(9))
    check(sums, (0, 3, 5, 7))
    far = np.array([0, 4_499_999, 4_500_000, 8_999_999], np.int32)  # times 256: no 32-bit number
    count = direct_stages.sum_blocks(256, 9_000_000, np.zeros((4, 2, 1, 1)), far).count
    assert np.flatnonzero(count).tolist() == [0, 127, 128, 255]


def test_what_is_not_finite_is_named():
    squares = np.array([[1.0, 2.0], [1.0, np.inf], [np.nan, 1.0]])  # the reference is last, and is not named
    with pytest.raises(ValueError, match="a gradient of b is not finite"):
        check_finite(PLAN, SimpleNamespace(squares=squares))
    check_finite(PLAN, SimpleNamespace(squares=squares[[0, 0, 2]]))


def test_pairs_of_replicates():
    assert (num_pairs(16), num_pairs(42)) == (8, 21)
    for wrong in (14, 17, 0, -16):
        with pytest.raises(ValueError, match=f"replicates: {wrong}; give an even number of at least 16"):
            num_pairs(wrong)
