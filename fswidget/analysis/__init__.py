"""Numbers from arrays: moments, eigensolvers, measures, error bars, the regime.

May use: nothing else of the package.
Never here: files, networks, pictures.
"""
