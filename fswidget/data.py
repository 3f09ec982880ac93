"""The former name of `fswidget.training.registry`, which goes on working."""

from fswidget.training.registry import source as source
