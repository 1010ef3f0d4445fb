"""Moments: what an engine answers about an estimator's gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gradvar.stats.intervals import Interval, estimate, is_rounding
from gradvar.stats.tails import Pivot


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
      ``estimate`` and ``interval`` make confidence intervals of them.
    - ``effective``: by figure, of how many equal blocks it might as well be made (``stats.effective``): below 30 an
      interval may be too narrow, below 6 there is none. Empty when exact.
    - ``pivots``: by figure, what its interval is made of (``stats.tails.Pivot.numbers``); where it is missing, ``se``
      and ``dof`` by Student's t.
    - ``without``: ``snr`` with each block of replicates left out, for comparisons that are paired by blocks; empty when
      exact, and where blocks are not shared.
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
    effective: Mapping[str, float] = field(default_factory=dict)
    pivots: Mapping[str, Sequence[float]] = field(default_factory=dict)
    without: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __repr__(self) -> str:
        drawn = f"{self.replicates} batches" if self.replicates else "exact"
        return (
            f"Moments({self.estimator}, G={self.group_size}, {self.prompts} prompts, {drawn}: "
            f"bias factor {self.bias_factor:.3g}, cosine {self.cosine:.3g}, SNR {self.snr:.3g})"
        )

    @property
    def rollouts(self) -> int:
        """The number of rollouts of one batch."""
        return self.prompts * self.group_size

    @property
    def snr_per_rollout(self) -> float:
        """snr / rollouts: what one rollout buys; equal for all batch sizes when prompts are independent."""
        return self.snr / self.rollouts

    def estimate(self, figure: str, level: float = 0.95) -> Interval:
        """A scalar figure by name, with its ``level`` confidence interval, or with the reason why there is none.

        The interval is of width zero when the figure is exact. A cosine's ends at 1 and at -1.
        """
        if figure == "snr_per_rollout":
            whole, size = self.estimate("snr", level), self.rollouts
            ends = {n: getattr(whole, n) / size for n in ("value", "low", "high", "se")}
            return replace(whole, **ends)
        if figure not in self.se:
            raise ValueError(f"figure: '{figure}' has no standard error; choose one of {', '.join(self.se)}")
        value, effective = float(getattr(self, figure)), self.effective.get(figure, np.nan)
        # An exact gradient is known, and against the same gradients a width of zero is the truth.
        known = self.replicates == 0 or figure == "true_signal"
        known |= self.true_gradient is None and figure in ("bias_factor", "cosine")
        if figure == "between" and np.isinf(effective):
            known = True  # fixed prompts have no part between them
        bounds = None
        error = self.se[figure]
        if is_rounding(error, self._scale(figure)):
            error = 0.0
        elif figure in self.pivots:
            bounds = Pivot.of(self.pivots[figure]).bounds(np.asarray(value), level)
        interval = estimate(
            value, error, self.dof, level,
            effective=effective, logarithmic=figure in LOGARITHMIC, by_identity=known, bounds=bounds,
        )  # fmt: skip
        if figure != "cosine":
            return interval
        low, high = (float(np.clip(end, -1.0, 1.0)) for end in (interval.low, interval.high))
        return replace(interval, low=low, high=high)

    def _scale(self, figure: str) -> float:
        """The size of what a figure is made of: variances are differences of E ||ghat||^2 and the signal."""
        if figure in ("trace_cov", "between", "within", "signal"):
            return max(abs(self.signal), abs(self.trace_cov))
        return abs(float(getattr(self, figure)))

    def interval(self, figure: str, level: float = 0.95) -> tuple[float, float]:
        """The ends of ``estimate``: NaN where there is no interval."""
        estimated = self.estimate(figure, level)
        return estimated.low, estimated.high


LOGARITHMIC = ("trace_cov", "between", "within", "signal", "snr")
