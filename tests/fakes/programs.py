"""The fakes of external programs as files that can be executed."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def executable(folder: Path, name: str) -> Path:
    """`tests/fakes/<name>.py` as a program in `folder`, with the interpreter that runs us."""
    path = folder / name.replace("_", "-")
    path.write_text(
        f"#!{sys.executable}\nimport os\nimport sys\n\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"from tests.fakes.{name} import main\n\n"
        "status = main(sys.argv[1:])\nsys.stderr.flush()\nos._exit(status)\n"
    )
    path.chmod(0o755)
    return path
