"""Tasks: prompts and verifiable rewards, computed on the device."""

from gradvar.tasks.addition import ModularAddition as ModularAddition
from gradvar.tasks.addition import PartialAddition as PartialAddition
from gradvar.tasks.countdown import Countdown as Countdown
from gradvar.tasks.form import FormLine as FormLine
from gradvar.tasks.given import Bandit as Bandit
from gradvar.tasks.given import Lookup as Lookup
from gradvar.tasks.parts import SeveralRewards as SeveralRewards
from gradvar.tasks.parts import several_rewards as several_rewards
from gradvar.tasks.questions import Questions as Questions
from gradvar.tasks.running_total import RunningTotal as RunningTotal
from gradvar.tasks.sorting import PartialSorting as PartialSorting
from gradvar.tasks.sorting import Sorting as Sorting
from gradvar.tasks.verification import Verification as Verification
