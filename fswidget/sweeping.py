"""The former name of `fswidget.experiments.sweeping`, which goes on working."""

from fswidget.experiments.sweeping import load as load
from fswidget.experiments.sweeping import sweep as sweep
from fswidget.recording.grid import Sweep as Sweep
