"""What was drawn once for a law that held is met again, and a function that breaks the law is still found."""

import random

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from gradvar.testing.search import Search, search

NUMBERS = st.fixed_dictionaries({"n": st.integers(0, 1000)})


def looked(finding, strategy=NUMBERS, examples=30, random_seed=None):
    met = Search()
    search(strategy, met, finding, examples, random_seed)
    return met


def every(strategy, **settings):
    examples = []
    looked(lambda example: examples.append(example["n"]) or "", strategy, **settings)
    return examples


def test_the_same_examples_are_met_again_and_other_ones_with_a_seed():
    strategy = st.fixed_dictionaries({"n": st.integers(0, 1000)})
    first = every(strategy)
    assert len(set(first)) > 10
    assert every(strategy) == first  # repeated
    assert every(st.fixed_dictionaries({"n": st.integers(0, 1000)})) == first  # drawn anew
    assert every(strategy, random_seed=7) != first


def test_a_broken_law_is_found_and_made_smallest_whether_or_not_one_held_before():
    def finding(example):
        return "above 99" if example["n"] > 99 else ""

    strategy = st.fixed_dictionaries({"n": st.integers(0, 1000)})
    fresh = looked(finding, strategy)
    assert (fresh.example, fresh.why) == ({"n": 100}, "above 99")
    assert looked(lambda example: "", strategy).example is None
    again = looked(finding, strategy)  # among those that were kept
    assert (again.example, again.why) == (fresh.example, fresh.why)


def test_the_global_generators_are_as_hypothesis_has_them_and_then_as_they_were():
    strategy = st.fixed_dictionaries({"n": st.integers(0, 9)})
    drawn = []
    random.seed(5)
    for _ in range(2):
        before = random.getstate()
        looked(lambda _: drawn.append((random.random(), np.random.rand())) or "", strategy, examples=5)  # noqa: NPY002
        assert random.getstate() == before
    half = len(drawn) // 2
    assert drawn[:half] == drawn[half:]
    assert len(set(drawn)) == 1


def test_a_law_without_examples_is_said():
    with pytest.raises(Unsatisfiable):
        looked(lambda example: "", st.nothing())
