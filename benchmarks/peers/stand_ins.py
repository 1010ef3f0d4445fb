"""Stand-ins for the heavy packages that a trainer imports beside the function that is checked, and that it
never calls.

Ray, DeepSpeed, Flax and the like take gigabytes or a GPU to install and have no part in an advantage.
``install()`` answers an import of one of the packages in ``HEAVY`` with an empty module, and only where the
package is missing. The functions that are checked are the installed release's own."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence
from typing import Any

HEAVY = tuple(
    [
        "ray",
        "deepspeed",
        "flash_attn",
        "peft",
        "bitsandbytes",
        "hydra",
        "vllm",
        "pylatexenc",
        "wandb",
        "torchdata",
        "tensorboard",
        "distrax",
        "flax",
        "orbax",
        "qwix",
        "grain",
        "metrax",
        "kagglehub",
        "tensorflow_datasets",
        "tensorflow",
        "numba",
        "perfetto",
        "sentencepiece",
        "optree",
        "einops",
        "torchmetrics",
        "jsonlines",
        "codetiming",
        "tenacity",
        "hf_transfer",
        "tensorflow_probability",
        "pybind11",
        "loralib",
        "optimum",
        "aiohttp",
        "fastapi",
        "uvicorn",
        "sglang",
        "pynvml",
        "liger_kernel",
        "tensorboardX",
        "aiofiles",
        "tinker",
        "torch_xla",
        "cachetools",
        "dotenv",
        "importlib_resources",
        "clu",
        "psutil",
        "optax",
        "grpc",
        "etils",
        "humanize",
        "PIL",
        "pydantic",
        "google",
    ]
)


class _Anything(type):
    """A class whose attributes are of its own kind, that can be called, subclassed, subscripted and
    decorated with."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _make(name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and callable(args[0]):
            return args[0]  # used as a decorator
        return cls

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    def __ror__(cls, other: Any) -> Any:
        return cls

    def __iter__(cls) -> Any:
        return iter(())


def _make(name: str) -> Any:
    return _Anything(name, (), {})


class _Module(types.ModuleType):
    __version__ = "0.0.0"
    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _make(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> Any:
        if fullname.split(".")[0] in self.roots:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def __init__(self, roots: set[str]) -> None:
        self.roots = roots

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install() -> None:
    """Answer imports of missing heavy packages from here on; in this process only."""
    missing = {name for name in HEAVY if importlib.util.find_spec(name) is None}
    sys.meta_path.append(_Finder(missing))
