"""Audit: what the rewards of rollout dumps show, read from what trainers write. NumPy and Arrow only; no JAX."""

from gradvar.audit.columns import FORMATS as FORMATS
from gradvar.audit.columns import Columns as Columns

try:
    import pyarrow as _pyarrow  # noqa: F401
except ImportError:
    raise ValueError(
        "pyarrow: not installed, and dumps are read with it; pip install 'gradvar[parquet]'"
    ) from None

from gradvar.audit.run import Audit as Audit
from gradvar.audit.run import audit as audit
from gradvar.audit.text import write_prompts as write_prompts
