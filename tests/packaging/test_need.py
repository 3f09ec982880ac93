"""What setting up says where a tool of the system is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("tool", "advice"),
    [("python", "Python 3.11 or newer"), ("node", "Node.js 20 or newer"), ("chromium", "chromium")],
)
def test_a_missing_tool_is_named_with_what_to_do(
    root: Path, tmp_path: Path, tool: str, advice: str
) -> None:
    for name in ("bash", "id"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        [tmp_path / "bash", root / "scripts" / "need.sh", tool],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert advice in done.stderr
    assert done.stdout == ""
