"""Held-out prompts: never trained on, and otherwise like the others."""

import jax
import numpy as np
import pytest

from gradvar.tasks import ModularAddition, Sorting
from gradvar.train.held_out import Training, held_out


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", [ModularAddition(digits=2), Sorting(length=6, values=10)], ids=lambda t: t.name
)
def test_no_held_out_prompt_is_trained_on(task):
    made = Training(task)
    trained = np.asarray(made.prompts(jax.random.key(0), 4000))
    examined = np.asarray(made.examination(jax.random.key(1), 200))
    assert not np.asarray(held_out(trained)).any()
    assert np.asarray(held_out(examined)).all()
    assert len(examined) == 200
    plain = np.asarray(held_out(task.prompts(jax.random.key(2), 4000)))  # the planted violator: the bare task
    assert abs(plain.mean() - 1 / 8) < 0.04


@pytest.mark.slow
def test_the_rest_is_like_the_task():
    task = ModularAddition(digits=2)
    sums = [
        np.stack(task.numbers(t.prompts(jax.random.key(3), 8000)), -1).mean(0) for t in (task, Training(task))
    ]
    assert np.abs(sums[0] - sums[1]).max() < 4 * 2**0.5 * 28.9 / 8000**0.5


@pytest.mark.slow
def test_prompts_do_not_depend_on_how_many_are_drawn_at_a_time():
    made = Training(ModularAddition(digits=2))
    one = [made.prompts(jax.random.fold_in(jax.random.key(0), i), 1)[0] for i in range(5)]
    again = jax.vmap(lambda i: made.prompts(jax.random.fold_in(jax.random.key(0), i), 1)[0])(np.arange(5))
    np.testing.assert_array_equal(np.stack(one), again)


@pytest.mark.slow
def test_a_task_with_too_few_prompts_is_refused():
    with pytest.raises(ValueError, match="too few prompts"):
        Training(ModularAddition(digits=1, modulus=2)).examination(jax.random.key(0), 500)
