"""Write the references in ``docs/reference`` from the code, or check that they are what it says.

    python .ci/reference.py [--check]

Whoever finds a sentence wrong there corrects a docstring or the help text of an option.
"""

from __future__ import annotations

import difflib
import sys
from itertools import islice

from reference_api import api
from reference_cli import command_line
from source_tree import ROOT, SourceTree

FOLDER = ROOT / "docs" / "reference"
WRITTEN = "<!-- Written by `make reference` from the code: correct it there, not here. -->"
SHOWN = 30
"""Lines of a difference that a check prints."""


def main() -> int:
    """Write the pages; with ``--check``, return 1 where one is not what the code says."""
    sys.path.insert(0, str(ROOT))
    pages = {"api.md": api(SourceTree(ROOT)), "cli.md": command_line()}
    stale = False
    for name, lines in pages.items():
        path = FOLDER / name
        text = "\n".join([WRITTEN, "", *lines, ""])
        if "--check" not in sys.argv[1:]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            continue
        kept = path.read_text(encoding="utf-8") if path.exists() else ""
        if kept != text:
            stale = True
            where = path.relative_to(ROOT).as_posix()
            difference = difflib.unified_diff(
                kept.splitlines(), text.splitlines(), where, "the code", lineterm="", n=1
            )
            print("\n".join(islice(difference, SHOWN)))
            print(f"{where}:1: is not what the code says: run `make reference`")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
