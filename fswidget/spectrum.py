"""The former name of `fswidget.analysis.spectrum`, which goes on working."""

from fswidget.analysis.api import analyze as analyze
from fswidget.analysis.spectrum import Spectrum as Spectrum
