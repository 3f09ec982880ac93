"""The former name of `fswidget.widget.viewer`, which goes on working."""

from fswidget.widget.viewer import Viewer as Viewer
from fswidget.widget.viewer import compare as compare
