"""What is kept of the scores of a bank's rows: four containers with one interface.

    WholeScores       the scores themselves
    SketchedScores    a random sketch of each, with unbiased inner products
    GramScores        exact inner products of all rows
    PromptGramScores  exact inner products of rows of the same prompt

Rows are [prompt, row]; a batch's gradient is a combination of rows, and its inner products are what evaluation needs.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from gradvar.stats.products import BlockProducts

_LARGEST_GRAM = 1 << 32  # bytes of one set of prompts' Gram matrices
_AT_ONCE = 256  # prompts whose rows are combined at a time

Combinations = Float[np.ndarray, "*lead block prompt row"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
    """What the containers share: ``truth`` [Q, M], the rows' products with grad J, and ``true_gradient`` [P].

    Both are None where grad J is not known or cannot be multiplied with (sketches).
    """

    truth: Float[np.ndarray, "prompt row"] | None = None
    true_gradient: Float[np.ndarray, " param"] | None = None

    main: ClassVar[str]
    """The name of the array that holds the scores or their products."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are kept, by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: array for name, array in named.items() if isinstance(array, np.ndarray)}

    def set_gram(self, prompts: int) -> Float[np.ndarray, "set row row"]:
        """Inner products of all rows within each set of ``prompts`` consecutive prompts.

        Raises:
            ValueError: They would not fit the memory, or were not kept.
        """
        array = getattr(self, self.main)
        size, rows = array.shape[:2]
        sets, width = size // prompts, prompts * rows
        need = sets * width**2 * array.itemsize
        if need > _LARGEST_GRAM:
            raise ValueError(
                f"prompts: {prompts} in a batch make Gram matrices of {need / 1e9:.1f} GB; "
                "take smaller batches, or fewer rollouts"
            )
        return self._set_gram(sets, prompts, rows)

    def _set_gram(self, sets: int, prompts: int, rows: int) -> Float[np.ndarray, "set row row"]:
        raise NotImplementedError

    def products(self, first: Combinations, second: Combinations) -> Float[np.ndarray, "*lead block block2"]:
        """<first_i, second_j> for combinations of rows; the leading axes broadcast.

        Raises:
            ValueError: No products across prompts were kept.
        """
        raise _no_products(first.shape[-2])

    def by_prompt(
        self, first: Float[np.ndarray, "*lead prompt row"], second: Float[np.ndarray, "*lead prompt row"]
    ) -> Float[np.ndarray, "*lead prompt prompt"]:
        """<first's part of prompt q, second's part of prompt r> for combinations of rows.

        Raises:
            ValueError: No products across prompts were kept.
        """
        raise _no_products(first.shape[-2])

    def set_products(
        self,
        first: Float[np.ndarray, "*lead prompt row"],
        second: Float[np.ndarray, "*lead prompt row"],
        prompts: int,
    ) -> BlockProducts:
        """Products of sets of ``prompts`` consecutive prompts, a combination at a time, for memory.

        Args:
            first: Combinations of rows; all leading axes but the last two are those of the result.
            second: As many, or one for all.
            prompts: In a set.

        Raises:
            ValueError: No products across prompts were kept.
        """
        lead = first.shape[:-2]
        if not lead:
            return self._set_products(first, second, prompts)
        partners = np.broadcast_to(second, first.shape)
        return BlockProducts.stacked(
            [self.set_products(a, b, prompts) for a, b in zip(first, partners, strict=True)]
        )

    def _set_products(
        self, first: Float[np.ndarray, "prompt row"], second: Float[np.ndarray, "prompt row"], prompts: int
    ) -> BlockProducts:
        products = self.by_prompt(first, second)
        sets = len(products) // prompts
        together = products.reshape(sets, prompts, sets, prompts).sum((1, 3))
        return BlockProducts.of(together, compared=True)


@dataclass(frozen=True, eq=False, kw_only=True)
class VectorScores(Scores):
    """Scores, or images of them whose inner products are unbiased."""

    vectors: Float[np.ndarray, "prompt row image"]

    main: ClassVar[str] = "vectors"

    def images(self, combination: Float[np.ndarray, "prompt row"]) -> Float[np.ndarray, "prompt image"]:
        """Each prompt's part of a combination of rows; some prompts at a time, for NumPy widens what it multiplies."""
        starts = range(0, len(combination), _AT_ONCE)
        parts = [slice(start, min(start + _AT_ONCE, len(combination))) for start in starts]
        products = [np.matmul(combination[part][:, None], self.vectors[part])[:, 0] for part in parts]
        return np.concatenate(products).astype(np.float64)

    def _set_gram(self, sets: int, prompts: int, rows: int) -> Float[np.ndarray, "set row row"]:
        joined = self.vectors[: sets * prompts].reshape(sets, prompts * rows, -1)  # [set, row, image]
        return np.matmul(joined, np.swapaxes(joined, 1, 2))

    def products(self, first: Combinations, second: Combinations) -> Float[np.ndarray, "*lead block block2"]:
        """<first_i, second_j> for combinations of rows."""
        vectors = self.vectors[: first.shape[-2]].reshape(-1, self.vectors.shape[-1])  # [prompt * row, image]
        left, right = (_times(_flat(x), vectors).reshape(*x.shape[:-2], -1) for x in (first, second))
        return left @ np.swapaxes(right, -1, -2)

    def by_prompt(
        self, first: Float[np.ndarray, "*lead prompt row"], second: Float[np.ndarray, "*lead prompt row"]
    ) -> Float[np.ndarray, "*lead prompt prompt"]:
        """<first's part of prompt q, second's part of prompt r> for combinations of rows."""
        vectors = self.vectors[: first.shape[-2]]
        left, right = (np.einsum("...qm,qmk->...qk", x, vectors, optimize=True) for x in (first, second))
        return left @ np.swapaxes(right, -1, -2)

    def _set_products(
        self, first: Float[np.ndarray, "prompt row"], second: Float[np.ndarray, "prompt row"], prompts: int
    ) -> BlockProducts:
        images = (self.images(x) for x in (first, second))
        return BlockProducts.of_vectors(*(x.reshape(len(x) // prompts, prompts, -1).sum(1) for x in images))


@dataclass(frozen=True, eq=False, kw_only=True)
class WholeScores(VectorScores):
    """The scores themselves: ``vectors`` [Q, M, P]."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SketchedScores(VectorScores):
    """A sketch of every score: ``vectors`` [Q, M, K], made by a map of this ``label``."""

    label: str

    def relative_error(
        self, coefficients: Float[np.ndarray, "estimator prompt row"], members: np.ndarray, sets: int
    ) -> Float[np.ndarray, " estimator"]:
        """The relative standard error that the sketch adds to the mean of ||ghat||^2, over some batches.

        The sum over columns is unbiased and the columns are exchangeable and nearly independent, so their spread gives
        the error. The columns of a hashed sketch are not exchangeable: there the bound is from var <u, u> <= 2 |u|^4
        / K.

        Args:
            coefficients: Of the rows, in one deal of the rollouts.
            members: [batch, prompt, row], true for the rows of each batch.
            sets: Sets of consecutive prompts, one for each batch of a number.
        """
        width = self.vectors.shape[-1]
        if self.label == "sketch hashed":
            return np.full(len(coefficients), np.sqrt(2 / width))
        columns = np.zeros((len(coefficients), width))
        vectors = self.vectors[: coefficients.shape[1]].reshape(sets, -1, width)  # [set, row, image]
        by_set = coefficients.astype(np.float64).reshape(len(coefficients), sets, -1)  # [estimator, set, row]
        for member in members:
            batch = np.where(member.reshape(sets, -1), by_set, 0.0)
            columns += (np.einsum("eax,axk->eak", batch, vectors, optimize=True) ** 2).sum(1)
        return columns.std(1, ddof=1) / columns.mean(1) / np.sqrt(width)


@dataclass(frozen=True, eq=False, kw_only=True)
class GramScores(Scores):
    """Exact inner products of all rows: ``cross`` [Q, M, Q, M]."""

    cross: Float[np.ndarray, "prompt row prompt row"]

    main: ClassVar[str] = "cross"

    def _set_gram(self, sets: int, prompts: int, rows: int) -> Float[np.ndarray, "set row row"]:
        width = prompts * rows
        flat = self.cross.reshape(len(self.cross) * rows, -1)  # [prompt * row, prompt * row]
        edges = [slice(a * width, (a + 1) * width) for a in range(sets)]
        return np.stack([flat[edge, edge] for edge in edges])

    def products(self, first: Combinations, second: Combinations) -> Float[np.ndarray, "*lead block block2"]:
        """<first_i, second_j> for combinations of rows."""
        size = first.shape[-2]
        cross = self.cross[:size, :, :size].reshape(size * self.cross.shape[1], -1)
        along = _times(_flat(first), cross).reshape(*first.shape[:-2], -1)  # [*lead, block, prompt * row]
        return along @ np.swapaxes(second.reshape(*second.shape[:-2], -1), -1, -2)

    def by_prompt(
        self, first: Float[np.ndarray, "*lead prompt row"], second: Float[np.ndarray, "*lead prompt row"]
    ) -> Float[np.ndarray, "*lead prompt prompt"]:
        """<first's part of prompt q, second's part of prompt r> for combinations of rows."""
        size = first.shape[-2]
        cross = self.cross[:size, :, :size]
        flat = first.reshape(-1, *first.shape[-2:])  # [lead, prompt, row]
        along = np.stack([_times(flat[:, q], cross[q].reshape(cross.shape[1], -1)) for q in range(size)], 1)
        along = along.reshape(*first.shape[:-2], size, size, -1)  # [*lead, prompt, prompt, row]
        return np.einsum("...qrm,...rm->...qr", along, np.broadcast_to(second, first.shape))


@dataclass(frozen=True, eq=False, kw_only=True)
class PromptGramScores(Scores):
    """Exact inner products of rows of the same prompt: ``gram`` [Q, M, M]; there are none across prompts."""

    gram: Float[np.ndarray, "prompt row row"]

    main: ClassVar[str] = "gram"

    def _set_gram(self, sets: int, prompts: int, rows: int) -> Float[np.ndarray, "set row row"]:
        if prompts > 1:
            raise _no_products(prompts)
        return self.gram


def scores_of(arrays: dict[str, np.ndarray], label: str) -> Scores:
    """The container of these arrays, by name; ``label``: of the map that made them.

    Raises:
        ValueError: None of the arrays holds scores, or more than one does.
    """
    held = {"vectors", "gram", "cross"} & set(arrays)
    if len(held) != 1:
        raise ValueError(f"scores: {sorted(arrays)} hold {len(held)} kinds of scores; give one")
    if "vectors" in arrays and label != "identity":
        return SketchedScores(**arrays, label=label)
    containers: dict[str, Callable[..., Scores]] = {
        "vectors": WholeScores, "gram": PromptGramScores, "cross": GramScores
    }  # fmt: skip
    return containers[held.pop()](**arrays)


def _no_products(prompts: int) -> ValueError:
    return ValueError(
        f"prompts: {prompts}, and the bank kept no products across prompts; record with Gram(cross=True)"
    )


def _flat(x: Combinations) -> Float[np.ndarray, "combination row"]:
    """Leads and blocks in one axis: one matrix product, not many thin ones that each read the whole bank."""
    return x.reshape(-1, x.shape[-2] * x.shape[-1])


def _times(
    combinations: Float[np.ndarray, "combination row"], bank: Float[np.ndarray, "row image"]
) -> Float[np.ndarray, "combination image"]:
    """Their product in the bank's precision: NumPy would first make a wider copy of the whole bank."""
    return (combinations.astype(bank.dtype) @ bank).astype(np.float64)
