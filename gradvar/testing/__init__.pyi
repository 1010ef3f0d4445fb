# Tests with pytest
from .pytest_laws import LawCase as LawCase
from .pytest_laws import advantage_laws as advantage_laws
from .pytest_laws import loss_laws as loss_laws

# Which estimator a function is
from .matching.match import Match as Match
from .matching.match import MatchVerdict as MatchVerdict
from .matching.match import matches as matches
from .identification.function import identify as identify
from .identification.report import Identification as Identification
from . import oracle as oracle

# Reports as data
from .verdicts import CheckReport as CheckReport
from .verdicts import LawResult as LawResult
from .runner import check_advantage as check_advantage
from .runner import check_loss as check_loss

# What is checked, and against which laws
from . import laws as laws
from . import names as names
from . import strategies as strategies
from .names import LAWS as LAWS
from .signatures import SignatureError as SignatureError
from .targets import AdvantageTarget as AdvantageTarget
from .losses import LossBatch as LossBatch
from .losses import LossTarget as LossTarget
from .recognise import advantage_target as advantage_target
from .recognise import loss_target as loss_target
