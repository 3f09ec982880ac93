"""Recordings small enough to be kept beside the text that quotes them."""

from __future__ import annotations

from dataclasses import replace

from fswidget.recording.recording import Recording

#: Arrays with a row for each shown sample: most of a frame, and the least of what is read later.
_POINTS = {"projections", "held_out_projections", "predictions"}

_ELSEWHERE = {"root": "data", "download": False}

#: The most bytes that a kept recording takes (our choice).
LIMIT = 300_000


def small(recording: Recording, limit: int = LIMIT) -> bytes:
    """The file of a recording without pictures, with as much of it as fits.

    Where points of samples would take more than half the frames with them, they go instead.

    Parameters
    ----------
    recording : Recording
    limit : int
        Bytes. The first and the last frame stay even where they alone take more.

    Returns
    -------
    bytes
        What `Recording.save` would write.
    """
    # Where the data lay says nothing to whoever reads the file elsewhere.
    config = {**recording.config, **{n: v for n, v in _ELSEWHERE.items() if n in recording.config}}
    info = replace(recording.info, thumbnails=None, config=config)
    bare = Recording(info, byte_budget=None)
    for sequence, frame in recording.entries:
        bare._add(sequence, frame)
    content = bare.to_bytes()
    if len(content) > 2 * limit:
        bare = Recording(bare.info, byte_budget=None)
        for sequence, frame in recording.entries:
            arrays = {n: a for n, a in frame.arrays.items() if n not in _POINTS}
            bare._add(sequence, replace(frame, arrays=arrays))
        content = bare.to_bytes()
    budget = bare.nbytes
    while len(content) > limit and len(bare) > 2:
        budget = int(budget * min(0.95, limit / len(content)))
        bare = bare.thinned(budget)
        content = bare.to_bytes()
    return content
