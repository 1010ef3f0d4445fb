"""Studies: estimators measured over policies, group sizes and staleness."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"study": ["bias_curve"]})
