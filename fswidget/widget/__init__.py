"""The live view: traits, codec and stream to the front end, viewer, explorer, exported page.

May use: experiments, training, probing, figures, recording.
Never here: torch, where a recording is only looked at.
"""
