"""Every strategy stays where its docstring says, reaches its edges, and shrinks to the plainest example."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument, NoSuchExample

import gradvar.testing
from gradvar.testing import strategies as gen
from gradvar.testing.laws import Law
from gradvar.testing.runner import check_law

SETTINGS = settings(
    max_examples=400, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


def reaches(strategy, condition):
    """The plainest example of the strategy that meets the condition."""
    return find(strategy, condition, settings=SETTINGS)


def samples(strategy, count=60):
    """That many examples, the same in every run."""
    seen = []

    @settings(SETTINGS, max_examples=count, phases=[Phase.generate])
    @given(strategy)
    def collect(example):
        seen.append(example)

    collect()
    return seen


def none():
    """Nothing of the strategy meets the condition."""
    return pytest.raises(NoSuchExample)


REWARDS = {
    "binary": (gen.binary(), 0.0, 1.0, {0.0, 1.0}),
    "dyadic": (gen.dyadic(), -2.0, 2.0, {-2.0, -0.125, 0.0, 0.125, 2.0}),
    "graded": (gen.graded(), 0.0, 1.0, {0.0, 0.1, 1.0}),
    "continuous": (gen.continuous(), -2.0, 2.0, {-2.0, 0.0, 2.0}),
    "continuous(1)": (gen.continuous(1.0), -1.0, 1.0, {-1.0, 1.0}),
    "rewards": (gen.rewards(), -2.0, 2.0, {-2.0, 0.0, 2.0, 0.125}),
    "nonnegative": (gen.rewards("nonnegative"), 0.0, 2.0, {0.0, 2.0, 0.125}),
    "binary rewards": (gen.rewards("binary"), 0.0, 1.0, {0.0, 1.0}),
    "log_probs": (gen.log_probs(), -4.0, -1 / 16, {-4.0, -1 / 16}),
    "log_ratios": (gen.log_ratios(), -1.5, 1.5, {-1.5, 0.0, 1.5, np.log1p(0.2), np.log1p(-0.28)}),
}


@pytest.mark.parametrize("name", REWARDS)
def test_numbers_stay_in_range_and_reach_its_ends(name):
    strategy, low, high, reached = REWARDS[name]
    with none():
        reaches(strategy, lambda x: not low <= x <= high)
    for value in reached:
        assert reaches(strategy, lambda x, v=value: x == v) == value


@pytest.mark.slow
def test_groups_shrink_to_the_smallest_and_plainest():
    assert reaches(gen.groups(), lambda g: True) == (0.0, 0.0)
    assert reaches(gen.groups(mixed=True), lambda g: True) == (0.0, 1.0)
    assert reaches(gen.groups(min_size=3), lambda g: max(g) > 1) == (0.0, 0.0, 2.0)
    assert reaches(gen.batches(min_prompts=2), lambda b: True) == ((0.0, 0.0), (0.0, 0.0))
    assert set(sum(reaches(gen.batches(), lambda b: len(b) == 3), ())) == {0.0}


@pytest.mark.slow
def test_batches_have_one_size_unless_ragged():
    with none():
        reaches(gen.batches(), lambda b: len({len(g) for g in b}) > 1)
    sizes = {len(g) for g in reaches(gen.batches(ragged=True), lambda b: len({len(g) for g in b}) == 3)}
    assert sizes == {2, 3, 5}


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_equal_and_near_equal_groups(dtype):
    equal = reaches(gen.equal_groups(dtype), lambda g: len(g) > 2 and g[0] not in (0.0, 1.0))
    assert len(set(equal)) == 1
    assert equal[0] == gen.rounded(equal[0], dtype)
    unit = {"bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}[dtype]
    near = reaches(gen.near_equal_groups(dtype), lambda g: max(map(abs, g)) > min(map(abs, g)) > 0.05)
    spread = np.ptp(np.abs(near)) / np.max(np.abs(near))
    assert 0 < spread <= 4 * unit
    top = reaches(gen.equal_groups(dtype), lambda g: g[0] > 0.95)[0]
    assert top <= (1e6 if dtype == "float64" else 1.0)


@pytest.mark.slow
def test_domains_are_kept():
    for make in (gen.equal_groups, gen.near_equal_groups):
        with none():
            reaches(make("float32", "nonnegative"), lambda g: min(g) < 0)
    assert reaches(gen.integer_groups("nonnegative"), lambda g: max(g) == 9) == (0.0, 9.0)
    assert reaches(gen.integer_groups(), lambda g: min(g) == -9) in ((-9.0, 0.0), (0.0, -9.0))
    assert set(reaches(gen.integer_groups("binary"), lambda g: len(set(g)) == 2)) == {0.0, 1.0}
    assert reaches(gen.scaled_groups("binary"), lambda g: max(g) > 0) == (0.0, 1.0)
    assert max(reaches(gen.scaled_groups(), lambda g: max(g) > 1e29)) <= 2e30
    assert max(reaches(gen.scaled_groups(dtype="float32"), lambda g: max(g) > 1e14)) <= 2.1e15
    assert any(0 < max(g) < 1e-15 for g in samples(gen.scaled_groups(), 200))


@pytest.mark.slow
def test_a_poisoned_group_names_a_row_of_it():
    with none():
        reaches(
            gen.poisoned_groups(),
            lambda p: not 0 <= p[1] < len(p[0]) or np.isfinite(p[2]) or len(set(p[0])) < 2,
        )
    for bad in (np.nan, np.inf, -np.inf):
        found = reaches(gen.poisoned_groups(), lambda p, b=bad: str(p[2]) == str(b))
        assert found[:2] == ((0.0, 1.0), 0)


@pytest.mark.slow
def test_losses_shapes_and_masks():
    shape = reaches(gen.loss_shapes(), lambda s: True)
    assert (shape["group"], shape["steps"], len(shape["lengths"]), len(shape["advantages"])) == (2, 4, 2, 2)
    assert set(shape["lengths"]) == {1}
    drawn = [s for s in samples(gen.loss_shapes()) if len(s["lengths"]) == 2 * s["group"]]
    assert {s["group"] for s in drawn} == {2, 3}
    assert {s["steps"] for s in drawn} == {4, 5, 12}
    assert {s["layout"] for s in drawn} == {"right", "left", "holes"}
    assert {n for s in drawn for n in s["lengths"]} >= {1, 2, 3, 4, 12}
    assert {s["group"] for s in samples(gen.loss_shapes(compact=True))} == {2}
    assert {s["steps"] for s in samples(gen.loss_shapes(compact=True))} == {4}
    assert {n for x in samples(gen.lengths(3)) for n in x} == {1, 2, 3, 4}
    assert {len(set(p)) for p in samples(gen.prompts_with_duplicates(3))} == {1, 2}


def test_rounding_is_that_of_the_dtype():
    assert gen.rounded(1 + 2.0**-8, "bfloat16") == 1.0  # a tie goes to the even neighbour
    assert gen.rounded(1 + 3 * 2.0**-8, "bfloat16") == 1 + 2.0**-6
    assert gen.rounded(1 + 3 * 2.0**-9, "bfloat16") == 1 + 2.0**-7
    assert gen.rounded(0.1, "float32") == float(np.float32(0.1))
    assert gen.stepped(-1.0, 2, "float64") == -1 - 2 * 2.0**-52
    assert gen.stepped(0.5, 0, "float32") == 0.5


def test_a_law_whose_examples_cannot_be_made_is_an_error_and_not_a_pass():
    target = gradvar.testing.advantage_target(lambda rewards: rewards - rewards.mean(axis=1, keepdims=True))
    broken = Law("zero_sum", lambda target: None, lambda target: st.floats(1.0, 0.0))
    with pytest.raises(InvalidArgument):
        check_law(broken, target)
    none_left = Law("zero_sum", lambda target: None, lambda target: st.just({}).filter(lambda x: False))
    assert check_law(none_left, target).status == "does not apply"


@pytest.mark.parametrize("domain", ["real", "nonnegative", "binary"])
def test_every_domain_has_examples_of_every_universal_law(domain):
    report = gradvar.testing.check_advantage(
        lambda rewards: rewards - rewards.mean(axis=1, keepdims=True), domain=domain, examples=3
    )
    out = {r.name for r in report.results if r.universal and r.status == "does not apply"}
    about_tokens = {"masked_inert", "rejected_rows_silent", "few_tokens", "empty_mask_finite"}
    about_tokens |= {"masked_tokens_zero", "length_free", "arrays_matter", "hole_ends_nothing"}
    assert out - {"one_baseline"} == about_tokens
    assert ("one_baseline" in out) == (domain == "binary")


def test_the_package_says_what_it_has_not():
    assert isinstance(gen.binary(), st.SearchStrategy)
    assert {"strategies", "advantage_laws", "LAWS"} <= set(dir(gradvar.testing))
    with pytest.raises(AttributeError, match=r"gradvar\.testing attribute nothing"):
        gradvar.testing.nothing  # noqa: B018
    assert gradvar.testing.__getattr__("names").LAWS is gradvar.testing.LAWS
