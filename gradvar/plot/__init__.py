"""Plots: each function draws on one pair of axes and returns them, with an interval for each figure that has an error.

``ax=`` takes axes of yours; without it a figure of one panel is made. Axes name their quantity and unit; colours are
chosen for colour-blind readers, on light and on dark axes; markers and dashes repeat what colours show, for print.
Every function takes the house's objects or the plain rows that they are saved as, so that a plot can be made
again from a file.
"""

from gradvar.plot.advice import cost as cost
from gradvar.plot.clipping import clip as clip
from gradvar.plot.mismatch import mismatch as mismatch
from gradvar.plot.moments import bias as bias
from gradvar.plot.moments import compare as compare
from gradvar.plot.moments import figure as figure
from gradvar.plot.moments import snr as snr
from gradvar.plot.moments import split as split
from gradvar.plot.moments import staleness as staleness
from gradvar.plot.moments import variance as variance
from gradvar.plot.signal import equal_groups as equal_groups
from gradvar.plot.signal import informative as informative
from gradvar.plot.style import theme as theme
from gradvar.plot.training import profiles as profiles
from gradvar.plot.training import retention as retention
from gradvar.plot.training import training as training
from gradvar.plot.weight import prompt_weight as prompt_weight
