"""What a run leaves behind: frames, recordings and their files.

May use: nothing else of the package (`Recording.figure` and `Recording.to_html` look upward).
Never here: torch.
"""

from fswidget.recording.frame import SCALARS as SCALARS
from fswidget.recording.frame import Frame as Frame
from fswidget.recording.frame import RunInfo as RunInfo
from fswidget.recording.recording import Recording as Recording
from fswidget.recording.recording import load as load
