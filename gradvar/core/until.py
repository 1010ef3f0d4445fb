"""``Until``: how narrow the intervals of a measurement shall be, in place of how many replicates it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradvar.core.checks import at_least, whole
from gradvar.core.moments import Moments
from gradvar.core.naming import resolve_name
from gradvar.stats.figures import FIGURES
from gradvar.stats.sequential import further, next_size, relative_half_width

FIRST = 256
"""Replicates of the first round, whatever the precision."""
MOST = 1 << 16
_CHOICES = (*FIGURES, "snr_per_rollout")


@dataclass(frozen=True)
class Until:
    """Replicates are added until half of every named figure's 95 % interval is at most this share of the figure.

    ``precision``: by figure of ``Moments``, such as ``{"trace_cov": 0.05}``. ``most``: replicates at the end of which
    the measurement stops anyway, with a warning unless ``warn`` is false. When to look, and why so seldom:
    ``stats.sequential``.

    >>> Until({"tr_cov": 0.05})
    Traceback (most recent call last):
    ValueError: until: no 'tr_cov'; nearest: trace_cov
    """

    precision: Mapping[str, float]
    most: int = MOST
    warn: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.precision, Mapping) or not self.precision:
            raise ValueError(
                f"until: {self.precision!r}; give a figure and a share of it, such as {{'trace_cov': 0.05}}"
            )
        asked = {}
        for name, share in self.precision.items():
            try:
                figure = resolve_name(str(name), _CHOICES)
            except ValueError as error:
                raise ValueError(f"until: {error}") from None
            number = isinstance(share, int | float) and not isinstance(share, bool)
            if not (number and 0 < share < 1):
                raise ValueError(
                    f"until: {figure} = {share!r}; give a share above 0 and below 1, such as 0.05"
                )
            asked[figure] = float(share)
        object.__setattr__(self, "precision", asked)
        at_least("most", whole("most", self.most, 1), FIRST)

    @classmethod
    def of(cls, asked: Until | Mapping[str, float]) -> Until:
        """Return it as it is, or make it of figures and shares."""
        return asked if isinstance(asked, Until) else cls(asked)

    @classmethod
    def read(cls, words: Sequence[str], most: int = MOST) -> Until:
        """Make it of words such as ``trace_cov:0.05``.

        >>> Until.read(["trace_cov:0.05", "snr:0.1"]).precision
        {'trace_cov': 0.05, 'snr': 0.1}
        >>> Until.read(["trace_cov"])
        Traceback (most recent call last):
        ValueError: until: 'trace_cov'; give FIGURE:SHARE, such as trace_cov:0.05
        """
        asked = {}
        for word in words:
            figure, _, share = word.partition(":")
            try:
                asked[figure] = float(share)
            except ValueError:
                raise ValueError(f"until: {word!r}; give FIGURE:SHARE, such as trace_cov:0.05") from None
        return cls(asked, most, warn=False)

    def as_dict(self) -> dict[str, object]:
        """Plain values, for provenance."""
        return {"precision": dict(self.precision), "most": self.most}

    def excess(self, moments: Sequence[Moments]) -> float:
        """The widest relative half width of the named figures over what was asked for: at most 1 where all are met."""
        return max(
            relative_half_width(m.estimate(figure)) / share
            for m in moments
            for figure, share in self.precision.items()
        )

    def next_size(self, moments: Sequence[Moments], rounds: int) -> int:
        """Replicates at the next look, no more than ``most``; those that there are where it is time to stop."""
        return min(self.most, next_size(moments[0].replicates, self.excess(moments), rounds))

    def shortfall(self, moments: Moments) -> str:
        """What was not reached, and how much more it takes, in one line; empty where all was, and of exact figures."""
        if moments.replicates == 0:
            return ""
        parts = []
        for figure, share in self.precision.items():
            estimate = moments.estimate(figure)
            width = relative_half_width(estimate)
            if width <= share:
                continue
            start = f"{moments.estimator} G={moments.group_size}: {share:g} for {figure} not reached after "
            start += f"{moments.replicates} replicates"
            more = further(moments.replicates, width / share)
            if more is None:
                reason = estimate.note or "the figure is zero"
                parts.append(f"{start}: {reason}")
            else:
                parts.append(f"{start}: now {_places(width)}; about {more} more are needed")
        return "; ".join(parts)


def _places(width: float) -> str:
    """A width in two significant digits.

    >>> _places(0.0812), _places(1.234)
    ('0.081', '1.2')
    """
    return f"{width:.{max(0, 1 - math.floor(math.log10(width)))}f}" if width > 0 else "0"
