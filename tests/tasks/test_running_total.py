"""The sum in steps, against plain Python on every completion."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.core.protocols import Task
from gradvar.tasks import RunningTotal


def is_right(task, prompt, line):
    """By the rules in words: what is before the stop token ends with the sum, alone or after a comma."""
    total = sum(map(int, prompt.rstrip("=").split("+"))) % 10**task.digits
    return re.fullmatch(rf"(.*,)?{total:0{task.digits}d}\.", line) is not None


@pytest.mark.parametrize(
    ("terms", "digits", "length"), [(3, 1, 4), pytest.param(2, 2, 3, marks=pytest.mark.slow)]
)
def test_every_completion_is_judged_as_in_words(terms, digits, length):
    task = RunningTotal(terms, digits)
    assert (task.completion_length, isinstance(task, Task)) == (length, True)
    prompts = task.prompts(jax.random.key(1), 2)
    some = [task.tokens.index(c) for c in "01,.=" + "".join(task.decode(task.solution(prompts)))]
    lines = jnp.asarray(list(itertools.product(sorted(set(some)), repeat=length)))
    rewards = np.asarray(task.reward(prompts, jnp.broadcast_to(lines, (2, *lines.shape))))
    for prompt, row in zip(task.decode(prompts), rewards, strict=True):
        assert row.tolist() == [float(is_right(task, prompt, line)) for line in task.decode(lines)]
        assert row.sum() > 0


@pytest.mark.slow
def test_solutions_are_the_totals_on_the_way():
    task = RunningTotal(terms=5)
    prompts = task.prompts(jax.random.key(0), 300)
    for prompt, answer in zip(task.decode(prompts), task.decode(task.solution(prompts)), strict=True):
        totals = list(itertools.accumulate(map(int, prompt.rstrip("=").split("+"))))[1:]
        assert answer == ",".join(f"{t % 100:02d}" for t in totals) + "."
    assert (np.asarray(task.reward(prompts, task.solution(prompts))) == 1).all()
    np.testing.assert_array_equal(task.encode(task.decode(prompts), task.prompt_length), prompts)
    with pytest.raises(ValueError, match="terms: 1"):
        RunningTotal(terms=1)
