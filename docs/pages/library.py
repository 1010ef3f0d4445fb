"""The reference: every part of the API from its docstrings, the catalogue, the commands as they print their help."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import gradvar
from gradvar import catalogue
from gradvar.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {  # pages that lie in the folders that they are about
    "studies/two_against_sixteen.md": "benchmarks/TWO_AGAINST_SIXTEEN.md",
    "studies/precision.md": "benchmarks/PRECISION.md",
    "howto/write_a_claim.md": "proofs/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "studies/results/settling.svg": "benchmarks/results/settling.svg",
    "studies/results/settling_map.svg": "benchmarks/results/settling_map.svg",
    "claims.css": "gradvar/report/templates/claims.css",
}
PARTS = {  # name under ``gradvar`` to what it is, in the order in which a reader needs them
    "measure": "Engines: exact enumeration, Monte Carlo, the score bank, laws, advice",
    "catalogue": "The named estimators",
    "advantages": "Advantages: rewards to advantages",
    "surrogates": "Surrogates: ratios and clips",
    "aggregates": "Aggregates: tokens to one number",
    "penalties": "Penalties: KL estimators",
    "selections": "Selections: rollouts that are dropped",
    "policies": "Policies",
    "tasks": "Tasks",
    "testing": "The conformance kit",
    "arms": "Arms of training experiments",
    "audit": "Dumps of trainers",
    "torch": "PyTorch",
    "integrations": "Inside a running trainer",
    "plot": "Plots",
    "symbolic": "Proofs",
}


@dataclass(frozen=True)
class Public:
    """A public name: as a user writes it, where it is defined, and what it is."""

    name: str
    home: str
    value: Any


def top() -> list[Public]:
    """Return the names directly under ``gradvar``, without its parts and what one of them shows."""
    names = [n for n in gradvar.__all__ if n not in PARTS and not n.startswith("_")]
    shown = {public.home for part in PARTS for public in members(part)}
    publics = [_public("gradvar", name, getattr(gradvar, name)) for name in names]
    return [public for public in publics if public.home not in shown]


def members(part: str) -> list[Public]:
    """The public names of a part, in the order of its file. PyTorch's are not loaded: it need not be there."""
    module = _module(part)
    if part == "torch":
        return [
            Public(f"gradvar.torch.{name}", f"{home}.{name}", None) for name, home in module._NAMES.items()
        ]
    listed = getattr(module, "__all__", None) or [n for n in vars(module) if _belongs(module, n)]
    return [_public(f"gradvar.{part}", name, getattr(module, name)) for name in listed]


def _module(part: str) -> ModuleType:
    return importlib.import_module("gradvar.torch") if part == "torch" else getattr(gradvar, part)


def _belongs(module: ModuleType, name: str) -> bool:
    """Return True for a function, class or constant that this part defines in one of its files."""
    value = getattr(module, name)
    if name.startswith("_") or isinstance(value, ModuleType):
        return False
    home = getattr(value, "__module__", None)
    return (
        name.isupper() and hasattr(module, "__path__") if home is None else home.startswith(module.__name__)
    )


def _public(above: str, name: str, value: Any) -> Public:
    if isinstance(value, ModuleType):
        home = value.__name__
    elif hasattr(value, "__qualname__"):
        home = f"{value.__module__}.{value.__qualname__}"
    else:  # a constant does not know its file: the one that assigns it
        files = [
            module
            for module in list(sys.modules)
            if module.startswith(above) and vars(sys.modules[module]).get(name) is value
        ]
        assigned = re.compile(rf"^{name}\b[^=\n]*=", re.MULTILINE)
        home = next(m for m in files if assigned.search(inspect.getsource(sys.modules[m]))) + f".{name}"
    return Public(f"{above}.{name}", home, value)


def navigation() -> list[Any]:
    """The pages of the reference."""
    api = [{"gradvar": "reference/gradvar.md"}]
    api += [{f"gradvar.{part}": f"reference/{part}.md"} for part in PARTS]
    return [{"Commands": "reference/commands.md"}, {"Estimators": "reference/estimators.md"}, {"API": api}]


def pages() -> dict[str, str]:
    """Return the text of every page in Markdown, by its address."""
    texts = {f"reference/{part}.md": _part(part, words) for part, words in PARTS.items()}
    texts["reference/gradvar.md"] = _listing("gradvar", gradvar.__doc__ or "", top())
    return texts | {"reference/commands.md": _commands(), "reference/estimators.md": _estimators()}


def _part(part: str, words: str) -> str:
    title = f"gradvar.{part}: {words[0].lower() + words[1:]}"
    return _listing(title, inspect.getdoc(_module(part)) or "", members(part))


def _listing(title: str, words: str, names: list[Public]) -> str:
    blocks = [f"# {title}\n\n{words}\n"]
    for public in names:
        blocks.append(
            f"::: {public.home}\n    options: {{heading: {public.name}, toc_label: {public.name}}}\n"
        )
    return "\n".join(blocks)


def _estimators() -> str:
    blocks = [
        "# Estimators",
        "",
        f"{len(catalogue.names())} of them: `gv.catalogue.get(name, **settings)`.",
        "",
    ]
    for entry in catalogue.entries():
        arxiv, title = entry.paper.arxiv, entry.paper.title
        known = re.fullmatch(r"\d{4}\.\d{5}(v\d+)?", arxiv)
        link = f"[arXiv {arxiv}](https://arxiv.org/abs/{arxiv})" if known else arxiv
        settings = ", ".join(f"`{k}={v}`" for k, v in entry.settings.items())
        blocks += [f"## {entry.name}", "", entry.summary, "", f"```text\n{entry.paper.equation}\n```", ""]
        blocks += [f"*{title}*, {link}.", ""]
        blocks += [f"Settings: {settings}.", ""] if settings else []
        blocks += (
            [f"Needs: {', '.join(f'`batch.{name}`' for name in entry.needs)}.", ""] if entry.needs else []
        )
        blocks += [f"At least {entry.min_group} rollouts of a prompt.", ""] if entry.min_group > 1 else []
    return "\n".join(blocks) + "\n"


def _commands() -> str:
    blocks = ["# Commands", "", "Exit codes: 0 all holds, 1 a law or claim fails, 2 bad usage or input.", ""]
    for name in cli.COMMANDS:
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            cli.run([name, "--help"])
        text = re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue())
        blocks += [f"## gradvar {name}", "", "```text", text.rstrip(), "```", ""]
    return "\n".join(blocks)
