"""The further kinds of functions that trainers have, each with its known forms and laws.

report = check_kind(function)            # the kind is read from the parameters' roles
report = check_kind(function, intended="gae")
"""

from gradvar.testing.kinds.base import Kind
from gradvar.testing.kinds.check import KINDS, check_kind, form_names, kind_of
from gradvar.testing.kinds.reading import kind_target

__all__ = ["KINDS", "Kind", "check_kind", "form_names", "kind_of", "kind_target"]
