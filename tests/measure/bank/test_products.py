"""Inner products of combinations of rows, from each container of scores, against loops over the rows."""

import numpy as np
import pytest

from gradvar.measure.bank import scores as containers
from gradvar.measure.bank.scores import GramScores, PromptGramScores, SketchedScores, WholeScores, scores_of

SIZE, ROWS, WIDTH = 4, 3, 5
VECTORS = np.random.default_rng(0).normal(size=(SIZE, ROWS, WIDTH)).round(2)
CROSS = np.einsum("qmk,rnk->qmrn", VECTORS, VECTORS)
GRAM = np.einsum("qmk,qnk->qmn", VECTORS, VECTORS)
HELD = {
    "whole": WholeScores(vectors=VECTORS),
    "sketched": SketchedScores(vectors=VECTORS, label="sketch"),
    "gram": GramScores(cross=CROSS),
}


def combinations(seed, *lead, size=SIZE):
    return np.random.default_rng(seed).normal(size=(*lead, size, ROWS)).round(2)


def gradients(combination):
    """Each prompt's part, in a loop."""
    return [sum(combination[q, m] * VECTORS[q, m] for m in range(ROWS)) for q in range(len(combination))]


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("size", [SIZE, 2])
def test_products_are_loops_over_rows(name, size):
    """Leading axes, blocks of two lengths, and fewer prompts than were recorded."""
    held, first, second = HELD[name], combinations(1, 2, 3, size=size), combinations(2, 2, 4, size=size)
    found = held.products(first, second)
    assert found.shape == (2, 3, 4)
    for lead, i, j in np.ndindex(found.shape):
        expected = sum(gradients(first[lead, i])) @ sum(gradients(second[lead, j]))
        assert found[lead, i, j] == pytest.approx(expected)
    apart = held.by_prompt(first[0], second[1, :3])
    assert apart.shape == (3, size, size)
    for i, q, r in np.ndindex(apart.shape):
        expected = gradients(first[0, i])[q] @ gradients(second[1, i])[r]
        assert apart[i, q, r] == pytest.approx(expected)


@pytest.mark.parametrize("name", HELD)
def test_products_of_sets_of_prompts(name):
    """Two prompts a set: several combinations beside one partner for all, and one alone."""
    held, first, second = HELD[name], combinations(3, 2, 3), combinations(4)
    found, alone = held.set_products(first, second, 2), held.set_products(first[1, 2], second, 2)
    assert found.diagonal.shape == (2, 3, 2)
    for at in np.ndindex(2, 3):
        mine, other = gradients(first[at]), gradients(second)
        (a, b), (c, d) = [[sum(x[:2]), sum(x[2:])] for x in (mine, other)]
        np.testing.assert_allclose(found.diagonal[at], [a @ c, b @ d])
        np.testing.assert_allclose(found.others[at], [(a @ d + b @ c) / 2] * 2)
    np.testing.assert_allclose(alone.diagonal, found.diagonal[1, 2])
    np.testing.assert_allclose(alone.others, found.others[1, 2])


def test_gram_matrices_of_sets():
    for sets, prompts in ((4, 1), (2, 2), (1, 4)):
        flat = VECTORS.reshape(sets, -1, WIDTH)
        expected = [[[x @ y for y in part] for x in part] for part in flat]
        for held in HELD.values():
            np.testing.assert_allclose(held.set_gram(prompts), expected)
    of_prompts = PromptGramScores(gram=GRAM)
    np.testing.assert_allclose(of_prompts.set_gram(1), GRAM)
    first = combinations(5)
    for refused in (
        lambda: of_prompts.set_gram(2),
        lambda: of_prompts.products(first[None, :2], first[None, :2]),
        lambda: of_prompts.by_prompt(first[:2], first[:2]),
    ):
        with pytest.raises(ValueError, match=r"^prompts: 2, and the bank kept no products"):
            refused()


def test_gram_matrices_that_would_not_fit(monkeypatch):
    """Two sets of two prompts with three rows are 2 x 6 x 6 numbers of eight bytes."""
    monkeypatch.setattr(containers, "_LARGEST_GRAM", 576)
    assert HELD["whole"].set_gram(2).shape == (2, 6, 6)
    monkeypatch.setattr(containers, "_LARGEST_GRAM", 575)
    with pytest.raises(ValueError, match=r"prompts: 2 in a batch make Gram matrices of 0\.0 GB"):
        HELD["whole"].set_gram(2)
    held = WholeScores(vectors=np.broadcast_to(np.zeros(1), (100, 5000, 1)))
    with pytest.raises(ValueError, match=r"of 200\.0 GB"):  # 10 sets of 50,000 x 50,000 float64 numbers
        held.set_gram(10)


@pytest.mark.parametrize("at_once", [1, 3, 256])
def test_images_are_taken_some_prompts_at_a_time(monkeypatch, at_once):
    monkeypatch.setattr(containers, "_AT_ONCE", at_once)
    found = WholeScores(vectors=VECTORS.astype(np.float32)).images(combinations(6))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, gradients(combinations(6)), rtol=1e-5, atol=1e-6)


def test_the_error_that_a_sketch_adds():
    """Of the mean squared norm over two batches of each of two sets, from the spread over the columns."""
    coefficients = combinations(7, 3)
    members = np.random.default_rng(8).random((2, SIZE, ROWS)) < 0.6
    found = HELD["sketched"].relative_error(coefficients, members, 2)
    for e, error in enumerate(found):
        columns = [0.0] * WIDTH
        for member in members:
            for chosen in (range(2), range(2, 4)):
                for k in range(WIDTH):
                    kept = [(q, m) for q in chosen for m in range(ROWS) if member[q, m]]
                    columns[k] += sum(coefficients[e, q, m] * VECTORS[q, m, k] for q, m in kept) ** 2
        mean = sum(columns) / WIDTH
        spread = (sum((x - mean) ** 2 for x in columns) / (WIDTH - 1)) ** 0.5
        assert error == pytest.approx(spread / mean / WIDTH**0.5)
    hashed = SketchedScores(vectors=VECTORS, label="sketch hashed")
    np.testing.assert_allclose(hashed.relative_error(coefficients, members, 2), [(2 / WIDTH) ** 0.5] * 3)


def test_the_container_is_named_by_its_array():
    truth = np.ones((SIZE, ROWS))
    for arrays, label, kind in (
        ({"vectors": VECTORS, "truth": truth}, "identity", WholeScores),
        ({"vectors": VECTORS}, "sketch", SketchedScores),
        ({"gram": GRAM, "truth": truth}, "gram", PromptGramScores),
        ({"cross": CROSS}, "gram", GramScores),
    ):
        made = scores_of(arrays, label)
        assert type(made) is kind
        assert made.arrays().keys() == arrays.keys()
        assert all(made.arrays()[name] is array for name, array in arrays.items())
    for arrays, count in (({"truth": truth}, 0), ({"gram": GRAM, "cross": CROSS}, 2)):
        with pytest.raises(ValueError, match=f"hold {count} kinds of scores"):
            scores_of(arrays, "gram")
