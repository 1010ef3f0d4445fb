"""The third step of recording: one backward pass for every row, and what is kept of each."""

from collections.abc import Iterable, Iterator
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from gradvar.core.devices import SINGLE, Devices
from gradvar.gradients.factored_sketch import factored_bytes
from gradvar.gradients.per_rollout import ScoreRows, project_scores, project_tokens
from gradvar.gradients.sketch import Gram, PerToken, ScoreMap, Sketch, Whole
from gradvar.measure.bank.data import BasisRows, Rollouts
from gradvar.measure.bank.scores import GramScores, PromptGramScores, Scores, SketchedScores, WholeScores
from gradvar.measure.direct import PolicyOnTask

WHOLE = 1 << 28
"""Bytes of whole scores below which they are simply kept."""
CHUNK = 1 << 27
"""Bytes of scores made at a time."""
FACTORS = 5 << 27
"""Bytes of the factors of scores made at a time, where scores are sketched from them."""

Images = Iterable[Float[np.ndarray, "chunk image"]]
"""Images of the used rows in their order, a chunk at a time."""


def score_rows(
    subject: PolicyOnTask,
    rollouts: Rollouts,
    rows: BasisRows,
    scores: Whole | Gram | Sketch,
    key: PRNGKeyArray,
    chunk: int | None = None,
    devices: Devices = SINGLE,
) -> Iterator[Float[np.ndarray, "chunk image"]]:
    """Run a backward pass for every used row, and yield the images that ``assemble`` lays out.

    Args:
        subject: The policy's log-probabilities are differentiated at its parameters.
        rollouts: Prompts and completions.
        rows: The rows; only those that are used are scored.
        scores: What is kept.
        key: What a sketch is drawn from.
        chunk: Rows at a time (None: as fits ``CHUNK``).
        devices: They share the rows.
    """
    prompt, row = rows.places()
    rollout, basis_index = rows.rollout[prompt, row], rows.basis_index[prompt, row]
    wanted = ScoreRows(
        jax.tree.map(lambda x: x[prompt], rollouts.prompts),
        rollouts.completions[prompt, rollout],
        rows.basis[prompt, rollout, basis_index],
    )
    policy, params, time = subject.policy, subject.params, wanted.completions.shape[1]
    factors = factored_bytes(policy, params, wanted.prompts, time, scores)
    if chunk is None:  # equal chunks: the last one is filled up, and that is computed too
        count, size, most = rows.count, sum(leaf.nbytes for leaf in jax.tree.leaves(params)), CHUNK
        if factors is not None:
            # one program for all shards: by what is the same for all, about a row a rollout
            count, size, most = rollouts.completions[..., 0].size, factors, FACTORS
        chunks = -(-count * size // most)
        chunk = max(1, -(-count // max(1, chunks)))
    return project_scores(policy, params, wanted, scores, key, chunk, devices, factors is not None)


def score_tokens(
    subject: PolicyOnTask, rollouts: Rollouts, scores: PerToken, key: PRNGKeyArray, devices: Devices = SINGLE
) -> tuple[BasisRows, Scores]:
    """Sketch every token's score; every token is its own basis vector.

    Args:
        subject: The policy's log-probabilities are differentiated at its parameters.
        rollouts: Prompts and completions.
        scores: How wide the sketch is.
        key: What it is drawn from.
        devices: They share the prompts.
    """
    size, _, time = rollouts.shape
    basis = np.eye(time, dtype=rollouts.logp.dtype) * rollouts.mask[..., None, :]
    rows = BasisRows.of(basis)
    prompts = jax.tree.map(jnp.asarray, rollouts.prompts)
    policy, params, completions = subject.policy, subject.params, rollouts.completions
    images = project_tokens(policy, params, prompts, completions, scores, key, devices)
    vectors = images[np.arange(size)[:, None], rows.rollout, rows.basis_index] * rows.is_used[..., None]
    return rows, SketchedScores(vectors=vectors, label=scores.label)


def assemble(
    rows: BasisRows,
    images: Images,
    scores: Whole | Gram | Sketch,
    params: int,
    truth: Float[np.ndarray, " param"] | None = None,
) -> Scores:
    """Lay out the images of the used rows by prompt, or their inner products, with those with grad J where it is known.

    Args:
        rows: The rows.
        images: Their images, as ``score_rows`` yields them.
        scores: What is kept.
        params: The number of parameters, P.
        truth: grad J, None where it is not known.
    """
    prompt, row = rows.places()
    size, width = rows.shape
    if isinstance(scores, Gram) and scores.cross:
        products, along = _products(list(images), truth)
        place = prompt * width + row  # in the order of all rows, used or not
        cross = np.zeros((size * width, size * width), products.dtype)
        cross[np.ix_(place, place)] = products
        aligned = None
        if along is not None:
            aligned = np.zeros((size, width), along.dtype)
            aligned[prompt, row] = along
        return GramScores(cross=cross.reshape(size, width, size, width), truth=aligned, true_gradient=truth)
    columns = scores.width if isinstance(scores, Sketch) else params
    vectors = np.zeros((size, width, columns), rows.basis.dtype)
    first = 0
    for image in images:
        chunk = slice(first, first + len(image))
        vectors[prompt[chunk], row[chunk]] = image
        first += len(image)
    if isinstance(scores, Sketch):
        return SketchedScores(vectors=vectors, label=scores.label)
    if isinstance(scores, Whole):
        return whole_scores(vectors, truth)
    aligned = None if truth is None else vectors @ truth.astype(vectors.dtype)
    gram = np.matmul(vectors, np.swapaxes(vectors, 1, 2))
    return PromptGramScores(gram=gram, truth=aligned, true_gradient=truth)


def whole_scores(
    vectors: Float[np.ndarray, "prompt row param"], truth: Float[np.ndarray, " param"] | None
) -> WholeScores:
    """Whole scores, with their products with grad J where it is known."""
    aligned = None if truth is None else vectors @ truth
    return WholeScores(vectors=vectors, truth=aligned, true_gradient=truth)


def _products(
    images: list[Float[np.ndarray, "chunk param"]], truth: Float[np.ndarray, " param"] | None
) -> tuple[Float[np.ndarray, "row row"], Float[np.ndarray, " row"] | None]:
    """Inner products of all rows, and their products with grad J.

    They are taken chunk by chunk: the first touch of a second copy of the scores would cost as much as half of the
    backward passes.
    """
    edges = np.cumsum([0, *(len(x) for x in images)])
    products = np.empty((edges[-1], edges[-1]), images[0].dtype)
    for i, left in enumerate(images):
        row = slice(edges[i], edges[i + 1])
        for j, right in enumerate(images[: i + 1]):
            column = slice(edges[j], edges[j + 1])
            products[row, column] = left @ right.T
            products[column, row] = products[row, column].T
    along = None if truth is None else np.concatenate([x @ truth.astype(x.dtype) for x in images])
    return products, along


def choose_map(
    scores: Whole | Gram | Sketch | Literal["auto"], rows: BasisRows, params_bytes: int, memory: float
) -> Whole | Gram | Sketch:
    """Resolve "auto" now that the number of rows is known, and check that it fits the memory.

    "auto" is ``Whole`` where whole scores are small, else ``Gram``, and a sketch where a Gram matrix does not fit.

    Args:
        scores: What was asked for.
        rows: The rows.
        params_bytes: Of one score.
        memory: Bytes that may be held.

    Raises:
        ValueError: It does not fit the memory.
    """
    size, width = rows.shape
    item, vectors = rows.basis.dtype.itemsize, size * width * params_bytes
    cross = vectors + (size * width) ** 2 * item
    if scores == "auto":
        products: Gram | Sketch = Gram() if cross <= memory else Sketch()
        scores = Whole() if vectors <= min(WHOLE, memory) else products
    if isinstance(scores, Sketch):
        need = size * width * scores.width * item
    elif isinstance(scores, Gram):
        need = cross if scores.cross else vectors + size * width**2 * item
    else:
        need = vectors
    if need > memory:
        raise ValueError(
            f"memory: {need / 1e9:.2f} GB for {rows.count} rows with scores={scores}, and {memory / 1e9:.2f} GB are "
            "allowed; give scores=Sketch('hashed'), fewer rollouts, or more memory"
        )
    return scores


def predict_memory(
    scores: ScoreMap | Literal["auto"], rollouts: int, params_bytes: int, memory: float
) -> None:
    """Raise ``ValueError``, before anything is drawn, for what cannot fit even with one row per rollout.

    Args:
        scores: What was asked for.
        rollouts: Of all prompts that are held at a time.
        params_bytes: Of one score.
        memory: Bytes that may be held.
    """
    if isinstance(scores, Whole | Gram):
        need = rollouts * params_bytes
    else:
        need = rollouts * 4 * (Sketch().width if scores == "auto" else scores.width)
    if need > memory:
        raise ValueError(
            f"memory: at least {need / 1e9:.2f} GB for {rollouts} rollouts with scores={scores}, and "
            f"{memory / 1e9:.2f} GB are allowed; give scores=Sketch('hashed'), a smaller width, fewer rollouts, or "
            "more memory"
        )
