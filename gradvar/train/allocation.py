"""How an arm spends its rollouts over the prompts of a step; settings only, imports no JAX."""

from dataclasses import dataclass
from typing import Literal

from gradvar.core.checks import at_least, one_of

Rule = Literal["even", "vip", "gvm", "knapsack", "ada", "balanced"]
RULES: tuple[Rule, ...] = ("even", "vip", "gvm", "knapsack", "ada", "balanced")


@dataclass(frozen=True)
class Allocation:
    """Group sizes prompt by prompt, at as many rollouts a step as the arm's ``group`` times its prompts.

    ``vip`` (2602.01601), ``gvm`` (2505.02391), ``knapsack`` (2509.25849), ``ada`` (2510.04996, Reinforce-Ada-Est) and
    ``even`` fix the sizes before the rollouts that are trained on; what the rules maximise is said in
    ``measure.advise.rules``. They need success rates. Where those come from differs between the papers (a Gaussian
    process over embeddings; the last epoch; rollouts beforehand); here all have the same source, ``probes`` rollouts of
    every prompt that count and are not trained on, as GVM's are, so that sizes do not depend on the rewards they weigh.
    No prompt has fewer than 2 or more than ``most``.

    ``balanced`` looks while it draws, as Reinforce-Ada's code (RLHFlow/Reinforce-Ada-Tinker,
    ``rl/adaptive_sampling.py``): ``round`` rollouts of a prompt at a time until half a group is right and half is
    wrong, or there are ``most``; the first of each kind are trained on, filled up with what there is, less the mean
    reward of all that were drawn. Its default: groups of 4, rounds of 8, 32 at the most. All that is drawn counts.
    """

    rule: Rule
    probes: int = 4
    most: int = 32
    round: int = 8

    def check(self, of_arm: str, group: int) -> None:
        """Raise ``ValueError`` with one clear line on settings that cannot be met."""
        one_of(f"rule {of_arm}", self.rule, RULES)
        if self.rule == "balanced":
            at_least(f"round {of_arm}", self.round, 1)
            at_least(f"group {of_arm}", group, 2)
            if group % 2 or self.most % self.round or self.most < group:
                raise ValueError(
                    f"most {of_arm}: {self.most} with rounds of {self.round} and groups of {group}; give a multiple of "
                    "the round, and an even group that is no larger"
                )
            return
        at_least(f"probes {of_arm}", self.probes, 1)
        at_least(f"group {of_arm}", group, self.probes + 2)
        at_least(f"most {of_arm}", self.most, group - self.probes)
