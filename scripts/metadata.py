"""What an index page shows: README and addresses, with links that lead there from anywhere.

``FSWIDGET_REPOSITORY`` is the address of the repository, which a release sets; without it, links
stay as they are, and only the paper is named.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAPER = "https://arxiv.org/abs/2410.04264"


def absolute(text: str, repository: str) -> str:
    """Markdown whose relative links and pictures lead into the repository."""

    def lead(found: re.Match[str]) -> str:
        kind = "raw" if found["picture"] else "blob"
        return f"{found['picture']}[{found['text']}]({repository}/{kind}/HEAD/{found['path']})"

    link = r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<path>(?!https?:|#|mailto:)[^)]+)\)"
    return re.sub(link, lead, text)


class IndexPage(MetadataHookInterface):
    """Fills in `readme` and `urls`, which pyproject.toml names as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = os.environ.get("FSWIDGET_REPOSITORY", "").rstrip("/")
        urls = {"Paper": PAPER}
        if repository:
            text = absolute(text, repository)
            urls |= {
                "Repository": repository,
                "Issues": f"{repository}/issues",
                "Changelog": f"{repository}/blob/HEAD/CHANGELOG.md",
                "Documentation": f"{repository}/blob/HEAD/docs/index.md",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = urls
