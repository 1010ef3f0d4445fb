"""``gradvar audit FILE...``: what the rewards in rollout dumps show, per training step and overall."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from gradvar.cli.progress import Bars


@dataclass(frozen=True)
class AuditConfig:
    """Say what the rewards of rollout dumps show: equal groups, prompts that teach, weights, suspicious groupings.

    Exit code 0: nothing suspicious. 1: something is (malformed rows, odd groups, advantages that do not fit; with
    --no-strict 0 then too). 2: bad input.
    """

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Dumps, or folders of them: JSON in any layout, CSV (either may be .gz or .zst), Parquet, or .pt of torch.save."""
    format: str = "auto"
    """Whose dump it is: auto (found by its columns), a trainer's name, or a file my.toml that declares a format."""
    estimator: str | None = None
    """The estimator in use, as in `gradvar list`. Default: the one whose advantages the dump has, else grpo."""
    prompt: str = ""
    """Column of the prompt, its text or its id. Default: a common name."""
    reward: tuple[str, ...] = ()
    """Column of the reward, or several, which are added up. Default: a common name; of TRL every reward."""
    reward_weights: tuple[float, ...] = ()
    """Weights of several rewards. Default: 1 each."""
    group: str = ""
    """Column of the group. Default: a common name, else the rollouts of one prompt in one step."""
    step: str = ""
    """Column of the training step. Default: a common name, else the file's name where trainers put it there."""
    advantage: str = ""
    """Column of the advantage that the trainer used. Default: a common name."""
    length: str = ""
    """Column of the rollout's length in tokens. Default: a common name."""
    logp: str = ""
    """Column of the rollout's log-probability, summed over tokens. Default: a common name."""
    source: str = ""
    """Column of the data source, by which figures are shown too. Default: a common name."""
    attempts: str = ""
    """Of counts and rates, one row a prompt: how many rollouts a prompt has, or the column that says so."""
    success_above: float | None = None
    """A reward above this is a success. Default: the higher of two rewards, else above the middle of the range."""
    prompts: Path | None = None
    """Write every prompt with its success rate, interval, class, and where it stands to this CSV file."""
    between: tuple[float, float] = (0.0, 1.0)
    """Of the prompts that are written, only those with a success rate between these two."""
    json: Path | None = None
    """Write every figure to this file too."""
    strict: bool = True
    """Exit with 1 when something is suspicious."""
    wide: bool = False
    """Tables with all their columns, however wide the terminal is."""
    quiet: bool = False
    """No report and no progress bar; the files and the exit code remain."""


def run(config: AuditConfig) -> int:
    """Audit, print the report, write the files; the exit code."""
    from gradvar.audit import Columns, audit, write_prompts
    from gradvar.audit.read import expand
    from gradvar.audit.text import text
    from gradvar.cli.progress import Bars
    from gradvar.cli.streams import Screen
    from gradvar.files.atomic import write_file
    from gradvar.files.paths import check_apart, check_file
    from gradvar.files.tables import write_plain

    screen = Screen()
    for name, path in (("json", config.json), ("prompts", config.prompts)):
        if path is not None:
            check_file(path, name)
    check_apart(
        {"json": config.json, "prompts": config.prompts}, [*expand(config.files), Path(config.format)]
    )
    low, high = config.between
    if not low <= high:
        raise ValueError(f"between: {low:g} and {high:g}; give a rate and a larger one")
    columns = Columns(
        config.prompt, config.reward, config.group, config.step, config.advantage, config.length, config.logp,
        config.source, config.attempts,
    )  # fmt: skip
    with Bars(config.quiet, transient=True) as bars:
        result = audit(
            config.files,
            format=config.format,
            estimator=config.estimator,
            columns=columns,
            reward_weights=config.reward_weights or None,
            success_above=config.success_above,
            progress=_Reading(bars, config.files),
        )
    if not config.quiet:
        print(text(result, screen.lines, wide=config.wide))
    if config.json is not None:
        write_plain(config.json, result.as_json())
    if config.prompts is not None:
        write_file(config.prompts, lambda path: write_prompts(result, path, config.between))
    return int(result.suspicious and config.strict)


class _Reading:
    """One bar for all files; the audit says how far each of them is."""

    def __init__(self, bars: Bars, files: tuple[Path, ...]) -> None:
        from gradvar.audit.read import expand

        self._bars = bars
        self._place = {str(path): index for index, path in enumerate(expand(files))}
        self._done = 0.0
        bars.stage("reading", len(self._place))

    def __call__(self, file: str, share: float) -> None:
        done = self._place[file] + share
        self._bars.advance(done - self._done)
        self._done = done
