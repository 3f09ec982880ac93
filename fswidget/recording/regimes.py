"""What people are told of a frame's regime and of the features in use, wherever it stands.

Labels and numbers in frames, tables and files stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

#: How the sentence of a regime begins of which nothing can be told, and of one that is not sure.
_UNDEFINED, KEPT = "Not defined", "The label is still that of the frame before"


def regime_of(labels: Mapping[str, str], all_needed: bool = False) -> str:
    """The regime that a frame may be called: its label, or ``"UNDEFINED"`` where nothing can be
    told, as its run says (`RunInfo.all_needed`), or its own sentence."""
    regime = labels.get("regime", "")
    undefined = all_needed or labels.get("evidence", "").startswith(_UNDEFINED)
    return "UNDEFINED" if undefined and regime in ("MF", "TRANSITION", "EF") else regime


def is_kept(labels: Mapping[str, str]) -> bool:
    """Whether the label is still that of the frame before: another one is not sure enough yet."""
    return labels.get("evidence", "").startswith(KEPT)


def regime_said(labels: Mapping[str, str], all_needed: bool = False) -> str:
    """What the regime is called in a line of text.

    Examples
    --------
    >>> from fswidget.recording.regimes import regime_said
    >>> regime_said({"regime": "TRANSITION", "evidence": "Not defined: fewer features ..."})
    'not defined'
    """
    regime = regime_of(labels, all_needed)
    if regime == "UNDEFINED":
        return _UNDEFINED.lower()
    return f"still {regime}" if is_kept(labels) else regime or "unknown"


def used_features(
    scalars: Mapping[str, float], labels: Mapping[str, str], all_needed: bool = False
) -> float:
    """k95; NaN of features that do not vary, and of no more than outputs need: it says nothing."""
    nothing = all_needed or labels.get("regime") == "CONSTANT"
    return math.nan if nothing else scalars.get("used_features", math.nan)
