"""``themis run`` with a shorter silence: python patient.py seconds [the command's words]

Its generator answers once there is a file ``gate`` in the folder. Where libfaketime is not loaded,
the wall clock is wrong by the seconds that the file named by ``CLOCK`` says at the moment.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from themis.execution import lease
from themis.testing import ScriptedGenerator


async def _until_the_gate_opens() -> None:
    while not Path("gate").exists():
        await asyncio.sleep(0.02)


generator = ScriptedGenerator(wait=_until_the_gate_opens, log="calls.log")


def main() -> None:
    right = time.time
    if "CLOCK" in os.environ:
        clock = Path(os.environ["CLOCK"])
        time.time = lambda: right() + float(clock.read_text())
    lease.TTL = float(sys.argv[1])
    lease._POLL = 0.05
    from themis.cli import main

    sys.argv[1:] = sys.argv[2:]
    main()


if __name__ == "__main__":
    main()
