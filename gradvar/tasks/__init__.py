"""Tasks: prompts and verifiable rewards, computed on the device."""

from gradvar.tasks.given import Bandit as Bandit
from gradvar.tasks.given import Lookup as Lookup
