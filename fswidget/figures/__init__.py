"""Every figure, declared once with Bokeh, and filled for print.

May use: recording.
Never here: torch, or the live view's state.
"""
