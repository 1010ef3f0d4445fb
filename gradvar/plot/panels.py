"""A study's figures as files: panels of one plot, for every policy and staleness or for every group size."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradvar.files.atomic import write_file
from gradvar.plot import moments
from gradvar.plot.style import theme
from gradvar.plot.weight import prompt_weight
from gradvar.studies.rows import has_interval, panels
from gradvar.studies.study import Study, variants

_BARS = "(bars are 95 % intervals; points without one are exact"


def save_figures(study: Study, folder: Path) -> list[Path]:
    """Plot a study's variance, bias, SNR, split and staleness (of three or more) as SVG and PNG; return the files."""
    files = []
    with theme("light"):
        for name, figure in _figures(study):
            for suffix in ("svg", "png"):
                files.append(folder / f"{name}.{suffix}")
                write_file(files[-1], partial(figure.savefig, format=suffix, dpi=150))
    return files


def _figures(study: Study) -> Iterator[tuple[str, Figure]]:
    config = study.config
    fixed = f"{config.rollouts} rollouts" if config.budget == "rollouts" else f"{config.prompts} prompts"
    budget = f"{fixed} per batch"
    split = f"Between prompts and within groups, {budget}\n(lines are 95 % intervals)"
    shown = [r for r in study.rows() if r["figure"] in ("trace_cov", "snr_per_rollout", "cosine")]
    bars = f"{_BARS})" if has_interval(shown).all() else f"{_BARS},\nhollow ones have none)"
    yield "variance", _places(study, moments.variance, f"Variance against group size, {budget}\n{bars}")
    yield "bias", _weights(study)
    yield "snr", _places(study, moments.snr, f"What one rollout buys, {budget}\n{bars}")
    yield "split", _places(study, moments.split, split)
    if len(config.staleness) > 2:
        yield "staleness", _staleness(study, f"What staleness costs, {budget}\n{bars}")


def _weights(study: Study) -> Figure:
    """The exact weight of one prompt against its success rate, a panel per group size."""
    sizes = study.config.group_sizes
    estimators = dict.fromkeys(estimator for _, estimator in variants(study.config))
    weighted = [estimator for estimator in estimators if not estimator.needs]
    figure = Figure(figsize=(max(6.0, 2.9 * len(sizes)), 3.6))
    axes = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for ax, size in zip(axes, sizes, strict=True):
        if weighted:
            prompt_weight(weighted, size, ax=ax)
        ax.set(title=f"G = {size}", xlabel="success rate p of the prompt")
    for ax in axes[1:]:
        ax.set_ylabel("")
    figure.suptitle("The weight that a prompt gets\n(exact; one prompt with two answers, on policy)")
    return figure  # each panel has its own legend: other curves coincide in it


def _staleness(study: Study, title: str) -> Figure:
    """Direction and signal against staleness, a row for each policy, at the smallest group size."""
    config, shown = study.config, ("cosine", "snr_per_rollout")
    figure = Figure(figsize=(8.2, 3.0 * len(config.policies) + 0.7))
    axes = figure.subplots(len(config.policies), len(shown), squeeze=False)
    for row, policy in zip(axes, config.policies, strict=True):
        for ax, name in zip(row, shown, strict=True):
            moments.staleness(study, name, group_size=config.group_sizes[0], policy=policy, ax=ax)
            ax.set_title(policy)
    figure.suptitle(title)
    _share_legend(figure, axes.ravel())
    return figure


def _places(study: Study, draw: Callable[..., Axes], title: str) -> Figure:
    """A panel per policy, task and staleness, two in a row."""
    places = panels(study.rows())
    columns = min(2, len(places))
    rows = -(-len(places) // columns)
    figure = Figure(figsize=(3.9 * columns + 0.4, 3.0 * rows + 0.7))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (place, measured) in zip(axes, places.items(), strict=False):
        draw(measured, ax=ax)
        ax.set_title(place if len(place) < 36 else place.replace(", ", ",\n"))
    for ax in axes[len(places) :]:
        ax.set_visible(False)
    figure.suptitle(title)
    _share_legend(figure, axes)
    return figure


def _share_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """Put one legend below the panels, which share their series."""
    axes = list(axes)
    handles, labels = axes[0].get_legend_handles_labels()
    for ax in axes:
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
    longest = max(map(len, labels), default=1)
    columns = max(1, min(6, int(figure.get_figwidth() * 12 / (longest + 5))))
    if labels:
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
