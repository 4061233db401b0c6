"""What importing the front of the package costs, counted by what it loads.

Covers: themis.execution.attempt, themis.experiment.experiment, themis.experiment.evaluate
"""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
from themis import Experiment, evaluate
print(*(name for name in sys.modules if name.startswith("themis.")))
"""


def test_importing_the_front_door_loads_nothing_that_compiles_or_keeps_runs() -> None:
    said = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    packages = {name.split(".")[1] for name in said.stdout.split()}
    assert packages == {"core", "execution", "experiment"}
