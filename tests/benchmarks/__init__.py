"""Measurements, run by ``make bench``: ratios within one run, never an assertion on time."""
