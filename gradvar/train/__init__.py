"""Training: warm starts, and policies some steps further on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["arms"])
