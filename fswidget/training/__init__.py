"""Settings, named networks and data sets, and the loop that trains and hands out frames.

May use: probing, recording.
Never here: widgets, or threads of its own but the one of `overlap`.
"""

from fswidget.training.loop import Training as Training
from fswidget.training.loop import train as train
from fswidget.training.optimisation import Progress as Progress
from fswidget.training.run_folder import RunFolder as RunFolder
from fswidget.training.run_folder import record as record
