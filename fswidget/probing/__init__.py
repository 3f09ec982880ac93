"""A network and fixed samples become one frame: head, capture, inference, probe, `watch`.

May use: analysis, recording (and `Watch.view` opens a widget).
Never here: training.
"""
