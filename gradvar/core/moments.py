"""Moments: what an engine answers about an estimator's gradient."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gradvar.stats.intervals import interval


@dataclass(frozen=True, eq=False)
class Moments:
    """What an estimator's gradient estimates, and how noisy it is.

    The gradient of one batch is a random vector ghat of length P; a batch has ``prompts`` prompts and ``rollouts``
    rollouts. All figures are about one such batch.

    - ``mean`` [P]: E ghat.  ``mean_se`` [P]: its standard error (zero when exact).
    - ``trace_cov``: tr Cov ghat = ``between`` + ``within``; ``between`` is the trace of the covariance of
      E[ghat | prompts], ``within`` the expected conditional one.
    - ``signal``: ||E ghat||^2.   ``snr``: signal / trace_cov.
    - ``true_gradient`` [P]: grad J at the current parameters, None where it is not known exactly; ``true_signal``:
      ||grad J||^2.   ``bias_factor``: <E ghat, grad J> / ||grad J||^2.   ``cosine``: between E ghat and grad J.
    - ``se``: the standard error of every scalar figure by name, zero when exact, and its degrees of freedom ``dof``;
      ``interval`` makes confidence intervals of them.
    - ``replicates``: how many gradients were drawn; 0 means enumerated.

    Estimated figures are unbiased where that is possible (mean, trace_cov, between, within, signal, true_signal), so a
    signal estimate may be negative when there is little of it; ``cosine`` is then NaN.
    """

    estimator: str
    group_size: int
    prompts: int
    mean: np.ndarray
    mean_se: np.ndarray
    trace_cov: float
    between: float
    within: float
    signal: float
    snr: float
    true_signal: float
    bias_factor: float
    cosine: float
    se: Mapping[str, float]
    true_gradient: np.ndarray | None = None
    dof: float = np.inf
    replicates: int = 0

    @property
    def rollouts(self) -> int:
        """The number of rollouts of one batch."""
        return self.prompts * self.group_size

    @property
    def snr_per_rollout(self) -> float:
        """snr / rollouts: what one rollout buys; equal for all batch sizes when prompts are independent."""
        return self.snr / self.rollouts

    def interval(self, figure: str, level: float = 0.95) -> tuple[float, float]:
        """A ``level`` confidence interval for a scalar figure, by name; of width zero when the figure is exact.

        A cosine's ends at 1 and at -1.
        """
        if figure == "snr_per_rollout":
            low, high = self.interval("snr", level)
            return low / self.rollouts, high / self.rollouts
        if figure not in self.se:
            raise ValueError(f"figure: '{figure}' has no standard error; choose one of {', '.join(self.se)}")
        value, logarithmic = float(getattr(self, figure)), figure in LOGARITHMIC
        bounds = interval(value, self.se[figure], self.dof, level, logarithmic=logarithmic)
        if figure == "cosine":
            bounds = np.clip(bounds[0], -1.0, 1.0), np.clip(bounds[1], -1.0, 1.0)
        return float(bounds[0]), float(bounds[1])


LOGARITHMIC = ("trace_cov", "between", "within", "signal", "snr")
