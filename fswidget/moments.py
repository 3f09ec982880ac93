"""The former name of `fswidget.analysis.api`, which goes on working."""

from fswidget.analysis.api import FeatureMoments as FeatureMoments
