"""The former name of `fswidget.experiments.sweeping`, which goes on working."""

from fswidget.experiments.sweeping import Sweep as Sweep
from fswidget.experiments.sweeping import sweep as sweep
