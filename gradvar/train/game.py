"""The settings of DPA-GRPO's game of a generator and a verifier; imports no JAX."""

from dataclasses import dataclass, fields

from gradvar.core.checks import at_least, between, finite, positive


@dataclass(frozen=True)
class PairedActions:
    """DPA-GRPO (arXiv 2605.08327) with the defaults of its reference implementation's command.

    stevenyu97/Generator_Verifier_Multi_Agent, ``--dual-agent-replay``. ``beta``: the factor of log pi - log pi_ref of
    both actions. ``published``: sum an action's log-probability over its tokens, as the paper prints it, in place of
    their mean. ``verifier_weight``: on the verifier's pair. ``revisions``: drawn for a challenged draft, at
    ``revise_temperature``; drafts, verdicts and decisions at ``temperature``. The approver's rewards: ``outcome_bonus``
    for a right outcome, less ``format_penalty`` for an unparsed revision, ``cave_penalty`` for giving up a right draft
    for a wrong revision and ``miss_penalty`` for keeping a wrong draft beside a right revision. ``balance`` times what
    the share of REVISE lacks to ``revise_share`` is added to its reward. ``rarity``: the power of the weight of rare
    cases. ``explore``: chance that a decision to keep is taken as REVISE, which changes the cases and the share and no
    gradient's actions. ``rank`` and ``alpha`` of the adapters; ``weight_decay`` of AdamW.

    Differs from it: no top-p, no dropout of adapters, no replay, no swap of roles, lines see no earlier lines.
    """

    beta: float = 0.04
    published: bool = False
    verifier_weight: float = 0.5
    revisions: int = 5
    temperature: float = 0.2
    revise_temperature: float = 0.7
    outcome_bonus: float = 0.5
    format_penalty: float = 0.25
    cave_penalty: float = 0.2
    miss_penalty: float = 0.3
    balance: float = 1.5
    revise_share: float = 0.3
    rarity: float = 1.0
    explore: float = 0.4
    rank: int = 8
    alpha: float = 32.0
    weight_decay: float = 0.01

    def check(self, of_arm: str) -> None:
        """Raise ``ValueError`` with one clear line on settings that cannot be met."""
        for field in fields(self):
            finite(f"{field.name} {of_arm}", float(getattr(self, field.name)))
        for name, least in {"revisions": 2, "rank": 1}.items():
            at_least(f"{name} {of_arm}", getattr(self, name), least)
        for name in ("temperature", "revise_temperature", "alpha"):
            positive(f"{name} {of_arm}", getattr(self, name))
        for name in ("explore", "revise_share"):
            between(f"{name} {of_arm}", getattr(self, name), 0, 1)
        for name in ("beta", "verifier_weight", "weight_decay", "balance", "rarity"):
            at_least(f"{name} {of_arm}", getattr(self, name), 0)

    @property
    def rollouts(self) -> int:
        """Rollouts of one prompt at most: a draft, a verdict, the revisions and a decision."""
        return self.revisions + 3
