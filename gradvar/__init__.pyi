__version__: str

# Estimators, and what they are made of
from . import catalogue as catalogue
from .core.batch import Batch as Batch
from .core.compose import compose as compose
from .core.estimator import Estimator as Estimator
from .core.estimator import Paper as Paper
from .core.estimator import token_weights as token_weights
from .pieces import advantages as advantages
from .pieces import aggregates as aggregates
from .pieces import corrections as corrections
from .pieces import penalties as penalties
from .pieces import selections as selections
from .pieces import surrogates as surrogates

# Where they are measured, and how
from . import measure as measure
from . import policies as policies
from . import tasks as tasks
from .core.moments import Moments as Moments
from .gradients.sketch import Gram as Gram
from .gradients.sketch import PerToken as PerToken
from .gradients.sketch import Sketch as Sketch
from .gradients.sketch import Whole as Whole
from .measure.bank.bank import ScoreBank as ScoreBank
from .measure.bank.recorder import RecordSettings as RecordSettings
from .stats.intervals import Interval as Interval
from .studies.config import MeasureConfig as MeasureConfig
from .studies.mismatch import Mismatch as Mismatch
from .studies.mismatch import mismatch as mismatch
from .studies.mismatch_config import MismatchConfig as MismatchConfig
from .studies.study import Study as Study
from .studies.study import study as study

# What is trained with them
from .train import arms as arms
from .train.drift import drift as drift
from .train.experiment import Experiment as Experiment
from .train.experiment import experiment as experiment
from .train.plan import Arm as Arm
from .train.plan import Phase as Phase
from .train.plan import TrainConfig as TrainConfig
from .train.warm_start import warm_start as warm_start

# What is shown of it, and the logs of other trainers
from . import audit as audit
from . import integrations as integrations
from . import plot as plot

# What is proved and tested about them
from . import symbolic as symbolic
from . import testing as testing
