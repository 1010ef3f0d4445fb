"""What identifies a prompt, and what only numbers rollouts, turns of an episode, or the rows of a batch."""

from collections.abc import Iterable, Sequence

from gradvar.audit.record_values import Record, is_identity, question_of, value_at

_FEW = 8  # rows that tell an identity of rollouts from one of prompts
_TURNS = {f"{word}{end}" for word in ("turn", "step") for end in ("_id", "_idx", "_index", "_number")} | {
    "turn",
    "timestep",
}
_EPISODES = {
    f"{word}{end}"
    for word in ("episode", "trajectory", "traj", "rollout")
    for end in ("", "_id", "_idx", "_index", "_uid")
}


def is_of_rollouts(name: str, text: str, sample: Sequence[Record]) -> bool:
    """Return True for an identity of rollouts: no value occurs twice, while texts of prompts do."""
    return bool(text) and text != name and is_identity(name) and differs_always(name, text, sample)


def differs_always(name: str, text: str, sample: Sequence[Record]) -> bool:
    """Return True where no value of a column occurs twice, and those of another one do."""
    if len(sample) < _FEW:
        return False
    values, texts = ([str(value_at(r, n)) for r in sample] for n in (name, text))
    return len(set(values)) == len(values) and 2 * len(set(texts)) <= len(texts)


def refuse_turns(kinds: Iterable[str], prompt: str, sample: Sequence[Record]) -> None:
    """Raise ``ValueError`` where a row is a turn of an episode, so that an episode would count as several rollouts."""
    turn, episode = (next((n for n in kinds if n.lower() in names), "") for names in (_TURNS, _EPISODES))
    of_training = turn.lower().startswith("step") and episode.lower().startswith("rollout")
    if not turn or not episode or of_training or prompt in (turn, episode):
        return
    keys = [tuple(str(value_at(r, name)) for name in (prompt, episode)) for r in sample]
    turns = {(*key, str(value_at(r, turn))) for key, r in zip(keys, sample, strict=True)}
    if len(keys) >= _FEW and len(turns) == len(keys) and 2 * len(set(keys)) <= len(keys):
        raise ValueError(
            f"a row is a turn: '{episode}' stands in several rows, with '{turn}' 1, 2, ...; write one row for each "
            "episode with its rewards added up, or name the reward with --reward"
        )


def prompt_of_each(prompt: str, rewards: Sequence[str], sample: Sequence[Record]) -> str:
    """The path of every rollout's own prompt, where a record holds rollouts of several; else the path as it is."""
    above, _, below = prompt.partition(".0.")
    if not below or not rewards or not all(name.startswith(f"{above}.*.") for name in rewards):
        return prompt
    each = f"{above}.*.{below}"
    values = [value_at(record, each) for record in sample]
    several = any(isinstance(v, list) and len({str(question_of(x)) for x in v}) > 1 for v in values)
    return each if several else prompt


def repeated_identity(names: Iterable[str], sample: Sequence[Record]) -> str:
    """A column such as id whose values stand in several records each, so that it is none of rollouts."""
    for name in (n for n in names if n.lower() in ("id", "idx", "index", "uuid")):
        values = [str(value_at(record, name)) for record in sample]
        if len(values) >= _FEW and 2 * len(set(values)) <= len(values):
            return name
    return ""
