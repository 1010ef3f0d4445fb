"""Engines: what an estimator's gradient estimates and how noisy it is, exactly and by Monte Carlo.

None of them knows which estimator it measures: they receive an objective.
"""

from gradvar.measure.advise import advise as advise
from gradvar.measure.advise_rewards import advise_rewards as advise_rewards
from gradvar.measure.bank import ScoreBank as ScoreBank
from gradvar.measure.direct import direct as direct
from gradvar.measure.direct import direct_many as direct_many
from gradvar.measure.exact import TooLarge as TooLarge
from gradvar.measure.exact import exact as exact
from gradvar.measure.exact import exact_from_tables as exact_from_tables
from gradvar.measure.exact import finite_tables as finite_tables
from gradvar.measure.laws import FourNumbers as FourNumbers
from gradvar.measure.laws import UStatisticNumbers as UStatisticNumbers
from gradvar.measure.laws import four_number_law as four_number_law
from gradvar.measure.laws import four_numbers as four_numbers
from gradvar.measure.laws import ustatistic_law as ustatistic_law
from gradvar.measure.laws import ustatistic_numbers as ustatistic_numbers
from gradvar.measure.long import record_long as record_long
from gradvar.measure.record import record as record
from gradvar.measure.schemes import choose as choose
from gradvar.measure.summary import Summary as Summary
from gradvar.measure.trace import ScoreTrace as ScoreTrace
from gradvar.measure.trace import score_trace as score_trace
from gradvar.measure.verifier import Verifier as Verifier
