"""Audit: what the rewards of rollout dumps show, read from what trainers write. NumPy and DuckDB only; no JAX."""

from gradvar.audit.columns import Columns as Columns
from gradvar.audit.formats import FORMATS as FORMATS
from gradvar.audit.run import Audit as Audit
from gradvar.audit.run import audit as audit
from gradvar.audit.run import reward_groups as reward_groups
from gradvar.audit.text import write_prompts as write_prompts
