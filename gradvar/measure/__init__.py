"""Engines: what an estimator's gradient estimates and how noisy it is, exactly and by Monte Carlo.

None of them knows which estimator it measures: they receive an objective.
"""

from gradvar.core.until import Until as Until
from gradvar.gradients.score_trace import ScoreTrace as ScoreTrace
from gradvar.gradients.score_trace import score_trace as score_trace
from gradvar.gradients.sketch import Gram as Gram
from gradvar.gradients.sketch import PerToken as PerToken
from gradvar.gradients.sketch import Sketch as Sketch
from gradvar.gradients.sketch import Whole as Whole
from gradvar.measure.advise.estimator_choice import EstimatorRanking as EstimatorRanking
from gradvar.measure.advise.estimator_choice import compare_estimators as compare_estimators
from gradvar.measure.advise.group_size import advise as advise
from gradvar.measure.bank.bank import ScoreBank as ScoreBank
from gradvar.measure.bank.record import record as record
from gradvar.measure.bank.recorder import RecordSettings as RecordSettings
from gradvar.measure.bank.summary import Summary as Summary
from gradvar.measure.direct import direct as direct
from gradvar.measure.direct_sums import Work as Work
from gradvar.measure.exact.closed_forms import FourNumbers as FourNumbers
from gradvar.measure.exact.closed_forms import UStatisticNumbers as UStatisticNumbers
from gradvar.measure.exact.closed_forms import four_number_law as four_number_law
from gradvar.measure.exact.closed_forms import four_numbers as four_numbers
from gradvar.measure.exact.closed_forms import ustatistic_law as ustatistic_law
from gradvar.measure.exact.closed_forms import ustatistic_numbers as ustatistic_numbers
from gradvar.measure.exact.enumerate import TooLarge as TooLarge
from gradvar.measure.exact.enumerate import exact as exact
from gradvar.measure.exact.tables import exact_tables as exact_tables
from gradvar.tasks.verifier import Verifier as Verifier
