"""A plot of a token's weight against its probability ratio: the part that a clip leaves."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator, token_weights
from gradvar.plot.style import axes_of, colour, faint, legend, name

RATIOS = np.exp(np.linspace(np.log(0.4), np.log(2.5), 421))


def clip(
    estimators: Sequence[str | Estimator],
    *,
    ratios: Sequence[float] | np.ndarray = RATIOS,
    ax: Axes | None = None,
) -> Axes:
    """Draw a token's weight against its probability ratio, relative to its weight on policy. Exact: no interval.

    Two rollouts of one token each, one right and one wrong; one's ratio pi / pi_old moves, the other's is one.
    Solid: the right one, dotted: the wrong one. Where a line lies at zero, the clip has taken the token's gradient.
    """
    new_axes, grid = ax is None, np.asarray(ratios, np.float64)
    if not (grid > 0).all():
        raise ValueError(f"ratios: the least is {grid.min():g}; give ratios of probabilities, above 0")
    ax = axes_of(ax)
    for index, estimator in enumerate(known(estimators)):
        right, wrong = np.asarray(weights(estimator, grid))
        thick = 1.4 + 0.9 * (len(estimators) - 1 - index)  # lines may coincide; earlier ones are wider
        ax.plot(grid, right, color=colour(ax, index), lw=thick, label=name(estimator.name))
        ax.plot(grid, wrong, color=colour(ax, index), lw=thick, ls=(0, (1.4, 1.2)))
    ax.axvline(1.0, color=faint(ax), lw=0.8, zorder=0)
    ax.set_xlabel(
        "probability ratio π / π_old of the token\n(solid: a right rollout's, dotted: a wrong one's)"
    )
    ax.set_ylabel("token weight\n(on policy = 1)")
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    legend(ax, new_axes, fold=False)
    return ax


def weights(estimator: Estimator, ratios: Float[np.ndarray, " ratio"]) -> Float[Array, "2 ratio"]:
    """Return the weights of the right and the wrong rollout's token at each ratio, over those on policy."""
    batch = Batch(np.array([[1.0, 0.0]]), jnp.full((1, 2, 1), jnp.log(0.25)))

    def weight(which: int, shift: Float[Array, ""]) -> Float[Array, ""]:
        logp = batch.logp_old.at[0, which, 0].add(shift)
        return token_weights(estimator, logp, batch)[0, which, 0]

    @jax.jit
    def relative_weights(shifts: Float[Array, " ratio"]) -> Float[Array, "2 ratio"]:
        curves = [jax.vmap(lambda s, i=i: weight(i, s))(shifts) / weight(i, jnp.zeros(())) for i in (0, 1)]
        return jnp.stack(curves)

    return relative_weights(jnp.log(jnp.asarray(ratios)))


def known(estimators: Sequence[str | Estimator]) -> list[Estimator]:
    """Look estimators up by name. Raises ``ValueError`` for those that need more than rewards."""
    if isinstance(estimators, str | Estimator):
        estimators = [estimators]
    if not estimators:
        raise ValueError("estimators: nothing given; name at least one of `gradvar list`")
    chosen = [catalogue.resolve(e) for e in estimators]
    for estimator in chosen:
        if estimator.needs:
            raise ValueError(
                f"estimators: '{estimator.name}' needs {', '.join(estimator.needs)}, which there is none of here; "
                "leave it out"
            )
    return chosen
