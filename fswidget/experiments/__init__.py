"""The paper's experiments, their report, and grids of runs on any executor.

May use: training, figures, recording.
Never here: how one run trains, or how a figure is drawn.
"""

from fswidget.experiments.catalogue import recipes as recipes
