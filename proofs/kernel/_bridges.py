"""Which shipped code the bridges are about: for every generated file its claims, its theorems and what it imports.

Loading MathComp takes a second of each file, so claims share files; what is traced stands in ``_bridges_*.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from _bridges_any import leave_one_out, mean_centred
from _bridges_binary import (
    clipped_contrast,
    general_baseline,
    prompt_weights,
    standardised_numbers,
    two_advantages,
    weights_at_the_ends,
)
from _bridges_parts import pair_kernel, silent_pairs, softmax_score, subtracted_mean
from _bridges_pieces import kl_slopes, truncated_weight
from _bridges_roots import bounded, contrast

from gradvar.symbolic.kernel.bridge import Bridge, bridge_source
from gradvar.symbolic.kernel.development import CoqFile


@dataclass(frozen=True)
class BridgeFile:
    """A generated file: the claims that it has theorems of, what makes these, and the files that it imports."""

    claims: tuple[str, ...]
    makers: tuple[Callable[[], Sequence[Bridge]], ...]
    imports: tuple[str, ...]


FILES = {
    "any_rewards": BridgeFile(
        ("A17b", "B1", "B3a", "N2"), (leave_one_out, mean_centred), ("group_means", "variance", "bridging")
    ),
    "binary_rewards": BridgeFile(
        ("A6", "B6a", "B6b", "B7a", "N1"),
        (general_baseline, two_advantages, standardised_numbers, prompt_weights, weights_at_the_ends),
        ("general_baseline", "four_numbers", "prompt_weight", "bridging", "bridging_roots"),
    ),
    "roots": BridgeFile(
        ("A1a", "A2", "B30"),
        (contrast, clipped_contrast, bounded),
        (
            "inequalities",
            "group_means",
            "standardised",
            "contrastive_form",
            "bridging",
            "bridging_roots",
        ),
    ),
    "pieces": BridgeFile(
        ("B24a", "R1"), (kl_slopes, truncated_weight), ("importance", "kl_estimators", "bridging")
    ),
    "parts": BridgeFile(
        ("A15a", "A17a", "A20", "B3b"),
        (subtracted_mean, pair_kernel, silent_pairs, softmax_score),
        ("group_means", "unbiased", "projection", "bridging"),
    ),
}


def bridge_files(wanted: Callable[[str], bool]) -> list[CoqFile]:
    """The generated files with theorems of the wanted claims."""
    return [
        bridge_source(name, [row for make in file.makers for row in make()], file.imports)
        for name, file in FILES.items()
        if any(map(wanted, file.claims))
    ]
