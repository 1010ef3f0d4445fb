"""One name, several things: functions that trainers call alike and that answer one input differently."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gradvar.testing.peers.survey import PeerRow

OTHER_WORDS = {
    "regular": "ppo",
    "vanilla": "ppo",
    "geo_mean": "gmpo",
    "reinforce++": "reinforce_plus_plus",
    "reinforceplusplus": "reinforce_plus_plus",
    "drgrpo": "dr_grpo",
    "group_norm": "grpo",
    "ppo_actor_loss_fn": "ppo",
    "sapo_loss_fn": "sapo",
    "sppo_hard": "sppo",
    "GRPOLoss": "grpo",
    "CISPOLoss": "cispo",
    "DAPO": "dapo",
}
"""Names of one estimator that are spelled differently."""

READ_ONLY: Mapping[str, str] = {
    "TIS": "in ROLL a policy loss: the ratio, cut to at most 1 and taken as a constant, times A log p. In verl, TRL, "
    "NeMo-RL, SkyRL and OpenRLHF a correction for the sampler: its ratio to the trainer, cut at a cap, times any loss.",
    "IPO": "in prime-rl a trust region: the ratio to the sampler times A where the probability has moved by at most a "
    "threshold. In TRL and in arXiv 2310.12036 a squared loss on pairs of answers.",
    "DRO": "in verl and ROLL direct reward optimisation: A log p less a quadratic penalty on the log-ratio. In the "
    "wider literature distributionally robust optimisation.",
    "BNPO": "in TRL and Liger GRPO's loss as a mean over the tokens of the local batch. In arXiv 2506.02864 "
    "advantages normalised by a Beta distribution that is fitted to the success rates.",
    "DAPO": "in TRL and Liger an average over tokens; in torchrl GRPOLoss under another name; in verl a recipe of "
    "sampling, length penalty and a higher upper clip. The paper (arXiv 2503.14476) is all of these together.",
    "CISPO": "epsilon_high is the cap itself in TRL and Liger, and the cap less one in verl, SkyRL, NeMo-RL, slime "
    "and Trinity-RFT: one value in two configurations gives two caps.",
}
"""Names whose other meaning no installed function shows: read in the sources, not called."""


@dataclass(frozen=True)
class SharedName:
    """The functions that share a name; ``answers`` groups them by what they answer to the stated input."""

    name: str
    kind: str
    given: str
    answers: Mapping[str, tuple[PeerRow, ...]]


def shared_names(rows: Iterable[PeerRow]) -> list[SharedName]:
    """The names under which at least two trainers have functions that answer the stated input differently.

    Functions with their default settings only, the first row of a name in each trainer.
    """
    groups: dict[tuple[str, str], list[PeerRow]] = defaultdict(list)
    for row in rows:
        if row.confirmation is not None:
            groups[common_name(row.name), row.kind].append(row)
    shared = []
    for (name, kind), members in sorted(groups.items()):
        firsts = list({row.trainer: row for row in reversed(members)}.values())[::-1]
        answers: dict[str, list[PeerRow]] = defaultdict(list)
        for row in firsts:
            answers[row.confirmation.answer if row.confirmation else ""].append(row)
        if len(firsts) > 1 and len(answers) > 1:
            given = firsts[0].confirmation.given if firsts[0].confirmation else ""
            shared.append(SharedName(name, kind, given, {k: tuple(v) for k, v in answers.items()}))
    return shared


def meanings(rows: Iterable[PeerRow]) -> str:
    """Say what functions with one answer are; those whose answers differ by less than is shown are several."""
    return " / ".join(dict.fromkeys(row.identity or row.note or "unknown" for row in rows))


def common_name(name: str) -> str:
    """A name without the spelling of its trainer.

    >>> common_name("GRPOLoss"), common_name("reinforce++"), common_name("grpo_vectorized")
    ('grpo', 'reinforce_plus_plus', 'grpo')
    """
    plain = OTHER_WORDS.get(name, name).lower()
    return re.sub(r"_(vectorized|verl)$", "", plain)
