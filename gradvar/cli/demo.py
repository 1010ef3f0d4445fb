"""``gradvar demo``: two rollouts against sixteen, exactly, in seconds and without a model."""

import time
from dataclasses import dataclass
from pathlib import Path

from gradvar.cli.results import keep_compiled_programs
from gradvar.cli.streams import Screen


@dataclass(frozen=True)
class DemoConfig:
    """Show what two rollouts are to GRPO, and what sixteen change: three sentences and a picture, all enumerated."""

    out: Path | None = None
    """Write the plot to this file too: .png, .svg or .pdf."""
    json: Path | None = None
    """Write every figure to this file too."""


def run(config: DemoConfig) -> int:
    """Print the sentences and the picture; write the files. Returns the exit code."""
    from gradvar.files.paths import check_file

    for name, path in (("out", config.out), ("json", config.json)):
        if path is not None:
            check_file(path, name)
    if config.out is not None and config.out.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"out: {config.out}; give a file that ends in .png, .svg or .pdf")
    started = time.perf_counter()
    keep_compiled_programs()
    import jax

    from gradvar.report.picture import picture
    from gradvar.studies.demo import RATES, demo

    with jax.enable_x64(True):
        result = demo()
    screen = Screen()
    for sentence in result.findings():
        screen.say(f"- {sentence}", "  ")
    curves = {"o": result.weights[16], "=": result.weights[2]}
    title = "weight of a prompt against its success rate; = two rollouts, o sixteen"
    print()
    for line in picture(curves, RATES, width=min(screen.width, 72) - 1):
        print(line)
    screen.say(title)
    if config.out is not None:
        _draw(config.out)
        screen.say(f"Plot written to {config.out}")
    if config.json is not None:
        from gradvar.files.tables import write_json

        write_json(config.json, result.as_json())
    screen.say(
        f"{time.perf_counter() - started:.0f} s, by enumeration. Next: gradvar measure, gradvar --help"
    )
    return 0


def _draw(path: Path) -> None:
    from gradvar import plot
    from gradvar.files.atomic import write_file
    from gradvar.plot.style import figure_of, theme

    with theme():
        figure = figure_of(plot.prompt_weight(["grpo"], (2, 16)))
        write_file(path, lambda place: figure.savefig(place, format=path.suffix[1:], dpi=200))
