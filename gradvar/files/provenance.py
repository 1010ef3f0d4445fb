"""Where numbers came from: versions, device, seed, settings and date, to be written beside every result."""

import datetime
import platform
import sys
from importlib import metadata
from typing import Any

PACKAGES = ("gradvar", "jax", "jaxlib", "equinox", "numpy", "scipy", "optax")


def provenance(config: dict[str, Any]) -> dict[str, Any]:
    """Versions, device, command, date and the given settings, as plain values."""
    import jax

    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "device": f"{jax.devices()[0].device_kind} x {jax.device_count()} ({jax.default_backend()})",
        "machine": f"{platform.system()} {platform.machine()}",
        "command": [sys.argv[0].rsplit("/", 1)[-1], *sys.argv[1:]],
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "config": config,
    }


def version(package: str) -> str:
    """The installed version of a package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
