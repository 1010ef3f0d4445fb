"""Stand-ins for the heavy packages that a trainer imports beside the function that is checked, and that it
never calls.

Ray, DeepSpeed, Flax and the like take gigabytes or a GPU to install and have no part in an advantage.
``install()`` answers an import of one of the packages in ``HEAVY`` with an empty module, and only where the
package is missing. The functions that are checked are the installed release's own."""

from __future__ import annotations

import importlib.util

from gradvar.testing.peers.stand_ins import StandIns

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


def install() -> None:
    """Answer imports of missing heavy packages from here on; in this process only."""
    modules = StandIns()
    for name in HEAVY:
        if importlib.util.find_spec(name) is None:
            modules.add(name)
