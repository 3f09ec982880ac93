"""The former name of `fswidget.widget.viewer`, which goes on working."""

from fswidget.widget.comparison import compare as compare
from fswidget.widget.viewer import Viewer as Viewer
