"""The sequence tasks against plain Python, their vocabulary, and what counts as right."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.core.protocols import FiniteTask, Task
from gradvar.tasks import ModularAddition, PartialAddition, PartialSorting, Sorting
from gradvar.tasks.matching import exact_match, fraction_right

STOP = 9


@pytest.mark.parametrize(("digits", "modulus"), [(1, None), (2, 97), (3, None), (2, 7)])
def test_addition_is_addition(digits, modulus):
    task = ModularAddition(digits, modulus)
    prompts = task.prompts(jax.random.key(0), 300)
    assert prompts.shape == (300, task.prompt_length)
    solutions = task.solution(prompts)
    assert solutions.shape == (300, 1, task.completion_length)
    for prompt, answer in zip(task.decode(prompts), task.decode(solutions), strict=True):
        first, second = prompt.rstrip("=").split("+")
        assert len(first) == len(second) == digits
        assert answer == f"{(int(first) + int(second)) % task.modulus}."
        assert max(int(first), int(second)) < task.modulus
    np.testing.assert_array_equal(task.encode(task.decode(prompts), task.prompt_length), prompts)
    np.testing.assert_array_equal(
        task.encode(task.decode(solutions), task.completion_length), solutions[:, 0]
    )


@pytest.mark.slow
def test_addition_lists_every_prompt_once_and_draws_them_uniformly():
    task = ModularAddition(1, 7)
    assert isinstance(task, FiniteTask)
    listed = task.decode(task.all_prompts())
    assert sorted(listed) == sorted(f"{a}+{b}=" for a in range(7) for b in range(7))
    drawn = task.decode(task.prompts(jax.random.key(1), 49_000))
    counts = np.array([drawn.count(text) for text in listed])
    assert counts.sum() == 49_000
    # 49 counts with mean 1000: chi-square with 48 degrees of freedom, above 93.2 once in 10,000 runs
    assert ((counts - 1000) ** 2 / 1000).sum() < 93.2
    with pytest.raises(ValueError, match="modulus: 10000 has 100000000 prompts, too many to list"):
        ModularAddition(4).all_prompts()


@pytest.mark.parametrize("task", [Sorting(5, 4, shortest=2), Sorting(3, 12, shortest=3)])
def test_sorting_sorts(task):
    assert isinstance(task, Task)
    prompts = task.prompts(jax.random.key(0), 400)
    lengths = []
    for prompt, answer in zip(task.decode(prompts), task.decode(task.solution(prompts)), strict=True):
        numbers = prompt.lstrip("_").rstrip(">")
        assert answer == "".join(sorted(numbers)) + "."
        lengths.append(len(numbers))
    assert set(lengths) == set(range(task.shortest, task.length + 1))
    np.testing.assert_array_equal(task.encode(task.decode(prompts), task.prompt_length), prompts)


def rewards_of(task, prompt, answers):
    prompts = task.encode([prompt], task.prompt_length)
    rows = [[task.tokens.index(c) for c in answer] for answer in answers]
    return task.reward(prompts, jnp.array([rows]))[0].tolist()


@pytest.mark.slow
def test_exact_match_counts_the_text_up_to_the_first_stop_token():
    task = ModularAddition(2)
    cases = {
        "32.": 1,  # right
        "33.": 0,
        "3..": 0,  # stops early
        "323": 0,  # no stop token
        "...": 0,  # nothing
        "=2.": 0,
    }
    assert rewards_of(task, "47+85=", list(cases)) == list(cases.values())
    short = {"5..": 1, "5.3": 1, "5.=": 1, "05.": 0, "55.": 0, ".5.": 0}  # text after the stop does not count
    assert rewards_of(task, "90+15=", list(short)) == list(short.values())
    longer = {
        "32.....": 1,
        "32.1+=4": 1,
        "32=....": 0,
        "320....": 0,
    }  # a policy may write more than the task needs
    assert rewards_of(task, "47+85=", list(longer)) == list(longer.values())
    shorter = {"5.": 1, "5+": 0, "..": 0}  # or less
    assert rewards_of(task, "90+15=", list(shorter)) == list(shorter.values())
    assert rewards_of(task, "47+85=", ["32", "3."]) == [0, 0]


@pytest.mark.slow
def test_graded_reward_is_the_fraction_of_positions_that_are_right():
    task = PartialAddition(2)
    cases = {"32.": 1, "33.": 2 / 3, "3..": 1 / 3 + 1 / 3, "323": 2 / 3, "...": 1 / 3, "99.": 1 / 3, "999": 0}
    assert rewards_of(task, "47+85=", list(cases)) == pytest.approx(list(cases.values()))
    short = {"5..": 1, "5.3": 1, "55.": 1 / 2, ".5.": 1 / 2, "9.9": 1 / 2, "999": 0}
    assert rewards_of(task, "90+15=", list(short)) == pytest.approx(list(short.values()))
    sorting = PartialSorting(4, 4)
    assert rewards_of(sorting, "_310>", ["013.0", "031.0", "0133.", "...01"]) == pytest.approx(
        [1, 1 / 2, 3 / 4, 1 / 4]
    )
    exact = Sorting(4, 4)
    assert rewards_of(exact, "_310>", ["013.0", "031.0", "0133.", "...01"]) == [1, 0, 0, 0]


def reference_match(completion, solution):
    """What must hold, by strings: the same text before the first stop, and a stop."""

    def cut(row):
        return row[: row.index(STOP) + 1] if STOP in row else row

    wanted, got = cut(solution), cut(completion)
    right = sum(a == b for a, b in zip(wanted, got, strict=False))
    right += sum(token == STOP for token in wanted[len(got) :] if STOP in got)  # stopped is stopped
    return float(wanted == got), right / len(wanted)


@pytest.mark.slow
def test_matching_agrees_with_strings_on_random_rows():
    rng = np.random.default_rng(0)
    solution = rng.integers(7, 10, (300, 1, 4))
    solution[..., -1] = STOP  # every solution ends
    completions = rng.integers(7, 10, (300, 20, 5))
    for length in (3, 4, 5):
        cut = completions[..., :length]
        exact = np.asarray(exact_match(jnp.asarray(cut), jnp.asarray(solution), STOP))
        graded = np.asarray(fraction_right(jnp.asarray(cut), jnp.asarray(solution), STOP))
        for q in range(300):
            for g in range(20):
                expected = reference_match(cut[q, g].tolist(), solution[q, 0].tolist())
                assert exact[q, g] == expected[0]
                assert abs(graded[q, g] - expected[1]) < 1e-12


@pytest.mark.parametrize(
    "task",
    [
        ModularAddition(2),
        *(
            pytest.param(t, marks=pytest.mark.slow)
            for t in (PartialAddition(1), Sorting(), PartialSorting(3, 5))
        ),
    ],
    ids=lambda t: t.name,
)
def test_the_solution_earns_the_full_reward_and_the_reward_runs_on_the_device(task):
    prompts = task.prompts(jax.random.key(0), 50)
    solution = task.solution(prompts)
    np.testing.assert_array_equal(jax.jit(task.reward)(prompts, solution), 1.0)
    wrong = solution.at[:, :, 0].add(1)  # the planted violator
    assert (np.asarray(jax.jit(task.reward)(prompts, wrong)) < 1).all()
    again = type(task)(**dataclasses.asdict(task))
    assert again == task
    assert hash(again) == hash(task)
    assert task.vocab == len(task.tokens) == len(set(task.tokens))
    assert prompts.min() >= 0
    assert prompts.max() < task.vocab


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModularAddition(0), "digits: 0; give 1 to 9"),
        (lambda: ModularAddition(2, 101), "modulus: 101; give 2 to 100"),
        (lambda: Sorting(0), "length: 0; give 1 to 256"),
        (lambda: Sorting(4, 1), "values: 1; give 2 to 36"),
        (lambda: Sorting(4, 5, shortest=5), "shortest: 5; give 1 to 4"),
        (lambda: ModularAddition().encode(["1+1"], 6), r"texts: '1\+1' has 3 tokens; give 6"),
        (lambda: ModularAddition().encode(["a"], 1), "texts: 'a' in 'a' is no token"),
        (lambda: Sorting().encode(["123456"], 3), "texts: '123456' has 6 tokens; give 3 at most"),
        (
            lambda: Sorting().reward(jnp.zeros((2, 3), int), jnp.zeros((2, 1, 7), int)),
            "prompts: 3 tokens long; give 7",
        ),
        (lambda: Sorting().reward(jnp.zeros((2, 7), int), jnp.zeros((3, 1, 7), int)), "completions: shape"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
