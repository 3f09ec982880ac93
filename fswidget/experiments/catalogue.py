"""The paper's experiments as named recipes.

Each has a full size, near the paper's (hours on a GPU), and a laptop size (minutes on two CPU
cores, fewer samples and narrower networks). The paper is arXiv 2410.04264; its figures are given
as secondary notes give them, so directions count before magnitudes.

>>> list(fs.recipes)
[..., 'grokking', ...]
"""

from __future__ import annotations

from fswidget.experiments import (  # noqa: F401 (they fill `recipes`)
    paper_tables,
    scaling_studies,
    studies_of_features,
    studies_of_probes,
)
from fswidget.experiments.recipe_parts import recipes as recipes
