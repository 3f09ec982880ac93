"""What runs leave behind: frames, recordings, sweeps and their files.

May use: nothing else of the package (the methods that draw, plot or export look upward).
Never here: torch.
"""

from fswidget.recording.differences import Difference as Difference
from fswidget.recording.differences import difference as difference
from fswidget.recording.frame import Frame as Frame
from fswidget.recording.frame import RunInfo as RunInfo
from fswidget.recording.grid import Run as Run
from fswidget.recording.grid import Sweep as Sweep
from fswidget.recording.loading import load as load
from fswidget.recording.recording import Recording as Recording
from fswidget.recording.scalars import SCALARS as SCALARS
