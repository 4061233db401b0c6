"""What importing costs: CPU seconds of the front door against pydantic's base alone.

python -m benchmarks.imports
"""

from __future__ import annotations

import json
import subprocess
import sys

_TIMES = 5
_HEAVY = ("numpy", "scipy", "aiohttp", "openai", "langgraph", "themis.core.models")


def seconds(statement: str) -> float:
    """Return the CPU seconds of a statement in a fresh interpreter: the least of several."""
    code = f"import time; c = time.process_time(); {statement}; print(time.process_time() - c)"
    return min(float(_python("-c", code)) for _ in range(_TIMES))


def loaded_by_help() -> list[str]:
    """Return which modules that help needs least of all ``themis --help`` loads."""
    code = (
        "import sys, contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    sys.argv = ['themis', '--help']\n"
        "    from themis.cli import main\n"
        "    main()\n"
        f"print(*(name for name in {_HEAVY!r} if name in sys.modules))"
    )
    return _python("-c", code).split()


def _python(*args: str) -> str:
    done = subprocess.run([sys.executable, *args], capture_output=True, text=True, check=True)
    return done.stdout


def main() -> None:
    """Measure and print the figures as JSON."""
    base = seconds("from pydantic import BaseModel")
    front = seconds("from themis import Experiment, evaluate")
    print(json.dumps({"base_s": base, "front_s": front, "loaded_by_help": loaded_by_help()}))


if __name__ == "__main__":
    main()
