"""The audit's own formulas against the catalogue's pieces, and its prompt weights against the four-number law."""

import jax.numpy as jnp
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.audit import schemes
from gradvar.audit.group_sizes import curve
from gradvar.audit.schemes import Rewards
from gradvar.core.compose import required
from gradvar.measure import advise
from gradvar.measure.exact.closed_forms import prompt_weight
from gradvar.stats.groups import unequal_share


def piece(name):
    return catalogue.get(name).parts["advantage"]


def as_cells(rewards):
    """Rewards [prompt, group] as cells, and where each rollout's cell is."""
    reward, n, start, of_cell, place = [], [], [], [], np.zeros(rewards.shape, int)
    for q, row in enumerate(rewards):
        levels, inverse, times = np.unique(row, return_inverse=True, return_counts=True)
        start.append(len(reward))
        place[q] = len(reward) + inverse
        reward += levels.tolist()
        n += times.tolist()
        of_cell += [q] * len(levels)
    return Rewards(np.array(reward), np.array(n), np.array(start), np.array(of_cell)), place


@pytest.mark.parametrize("name", schemes.SCHEMES)
@pytest.mark.parametrize("levels", [(0.0, 1.0), (0.0, 0.1, 0.7, 2.0)])
def test_advantages_are_the_catalogues(name, levels):
    rewards = np.random.default_rng(1).choice(levels, (30, 5))
    cells, place = as_cells(rewards)
    wanted = np.asarray(piece(name)(rewards=jnp.asarray(rewards)))
    np.testing.assert_allclose(schemes.scheme(name)(cells)[place], wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_every_estimator_whose_advantages_rewards_alone_fix_group_by_group_is_here():
    def by_the_group(name):
        own = catalogue.get(name).parts.get("advantage")
        if own is None or set(required(own)) != {"rewards"}:
            return False
        rewards = np.array([[0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
        apart = np.stack([np.asarray(own(rewards=jnp.asarray(r[None])))[0] for r in rewards])
        together = np.asarray(own(rewards=jnp.asarray(rewards)))
        turned = np.asarray(own(rewards=jnp.asarray(rewards[:, ::-1])))[:, ::-1]
        return np.allclose(apart, together) and np.allclose(turned, together)

    have = {name for name in catalogue.names() if by_the_group(name)}
    # That one tells correct from wrong, not rewards apart, so it says little about a dump.
    assert have == {*schemes.SCHEMES, "pass_at_k_standardised"}


@pytest.mark.parametrize(
    "name", ["rloo", "dr_grpo", "grpo", "grpo_sample_std", "maxrl", "softmax", "pass_at_k"]
)
@pytest.mark.parametrize("size", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 16))])
def test_prompt_weights_are_the_four_number_laws(name, size):
    rates = np.array([0.01, 0.3, 0.5, 0.97])
    wanted = [
        prompt_weight(lambda r: np.asarray(piece(name)(rewards=jnp.asarray(r))), size, float(p))
        for p in rates
    ]
    np.testing.assert_allclose(schemes.prompt_weights(name, size, rates), wanted, rtol=1e-7)


def test_prompt_weights_at_the_ends_and_for_other_levels():
    ends = schemes.prompt_weights("grpo", 9, np.array([0.0, 1.0]))
    np.testing.assert_allclose(ends, np.sqrt(8), rtol=1e-5)  # claim B6: sqrt(G - 1)
    np.testing.assert_allclose(
        schemes.prompt_weights("rloo", 7, np.linspace(0, 1, 5), -1.0, 3.0), 1, rtol=1e-12
    )
    np.testing.assert_allclose(
        schemes.prompt_weights("grpo", 4, np.array([0.3]), -1.0, 1.0),
        schemes.prompt_weights("grpo", 4, np.array([0.3])) / 2,
        rtol=1e-5,
    )


def test_an_estimator_that_needs_more_than_rewards_is_refused_by_name():
    with pytest.raises(
        ValueError, match="estimator: 'opo' has no advantages that the rewards of one group fix"
    ):
        schemes.scheme("opo")


def test_group_sizes_are_those_of_advise():
    rewards = np.random.default_rng(2).choice([0.0, 0.5, 1.0], (40, 8), p=[0.6, 0.2, 0.2])
    cells, _ = as_cells(rewards)
    found = {s.group_size: s for s in curve(cells, np.arange(40), 8)}
    advised = {p.group_size: p for p in advise(rewards, group_sizes=tuple(found)).curve}
    for size, own in found.items():
        if size <= 8:
            assert own.informative.value == pytest.approx(advised[size].informative.value, abs=1e-12)
            np.testing.assert_allclose(unequal_share(rewards, size).mean(), own.informative.value)
        ratio = advised[size].relative_cost / advised[8].relative_cost
        assert own.relative_cost == pytest.approx(ratio)


@pytest.mark.parametrize("levels", [(0.0, 1.0), (-0.3, 0.1, 0.7)])
@pytest.mark.parametrize("name", schemes.SCHEMES)
def test_kinds_of_groups_have_the_advantages_of_every_group(name, levels):
    rng = np.random.default_rng(5)
    rewards = rng.choice(levels, (4000, 4))
    rewards[0] = levels[-1]  # a kind that is rare
    cells, _ = as_cells(rewards)
    assert len(cells.kinds.rewards.start) == len({tuple(sorted(row)) for row in rewards.tolist()})
    whole = schemes.SCHEMES[name](cells)
    # The formula of best-of-two sums over all groups before, and so rounds otherwise.
    np.testing.assert_allclose(schemes.scheme(name)(cells), whole, rtol=0, atol=1e-11)
    if name != "pass_at_k":
        np.testing.assert_array_equal(schemes.scheme(name)(cells), whole)
    other, _ = as_cells(rng.normal(size=(50, 4)))
    assert other.kinds is None
