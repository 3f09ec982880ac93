"""The former name of `fswidget.training.config`, which goes on working."""

from fswidget.training.config import Config as Config
