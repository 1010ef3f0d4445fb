"""How informative the stored groups of a run are: what G2D (arXiv 2605.21266) says its second phase lives on.

Its abstract says that performance is not governed by the number of pairs but by their informativeness; how that is
measured there was not read. Here: the chance that two rollouts of a prompt differ, which is largest where the policy is
least certain, beside the number of pairs.
"""

import numpy as np
from jaxtyping import Float

FIGURES = ("mixed", "pairs", "contrast", "within")


def informativeness(
    rewards: Float[np.ndarray, "*seed prompt group"], difficulty: tuple[float, float] = (0.0, 1.0)
) -> dict[str, Float[np.ndarray, "*seed"]]:
    """Figures of stored groups of binary rewards.

    ``mixed``: the share of prompts whose rewards differ. ``pairs``: of a right and a wrong rollout, in all.
    ``contrast``: twice the share of a prompt's pairs of rollouts that differ, the mean over prompts: without bias
    4 p (1 - p), 1 at the most. ``within``: the share of prompts that are mixed and whose mean reward lies in
    ``difficulty``.

    >>> informativeness(np.array([[1.0, 0, 0, 0], [1, 1, 1, 1]]))["contrast"].item()
    0.5
    """
    group = rewards.shape[-1]
    right = rewards.sum(-1)  # [*seed, prompt]
    pairs = right * (group - right)
    mean = right / group
    within = (pairs > 0) & (mean >= difficulty[0] - 1e-6) & (mean <= difficulty[1] + 1e-6)
    return {
        "mixed": (pairs > 0).mean(-1),
        "pairs": pairs.sum(-1),
        "contrast": (4 * pairs / (group * (group - 1))).mean(-1) if group > 1 else np.zeros(right.shape[:-1]),
        "within": within.mean(-1),
    }
