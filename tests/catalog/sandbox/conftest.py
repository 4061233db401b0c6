"""The isolations that work on this machine, each of which must keep every promise it makes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator

import pytest

from tests.support.lacking import lacking
from themis.catalog.sandbox.local import ISOLATIONS, LocalSandbox
from themis.catalog.sandbox.program import SandboxError

# Under root the interpreter of the tests may stand where other users see nothing.
PYTHONS = [sys.executable, *(one for one in ("/usr/bin/python3",) if os.path.exists(one))]


REMEDIES = {
    "bubblewrap": "let this user make namespaces",
    "namespaces": "let this user make namespaces",
    "rlimits": "install Python where all users may run it",
}


@pytest.fixture(params=ISOLATIONS, scope="session")
def sandbox(request: pytest.FixtureRequest) -> Iterator[LocalSandbox]:
    if request.param == "rlimits" and os.geteuid() != 0:
        lacking("run the tests as root", "limits alone keep no program from this user's files")
    if request.param == "bubblewrap" and shutil.which("bwrap") is None:
        lacking("install bubblewrap", "there is no bwrap on the PATH")
    reasons = []
    for python in PYTHONS:
        found = LocalSandbox(isolation=request.param, python=python)
        try:
            assert found.isolation == request.param
        except SandboxError as error:
            reasons.append(str(error))
        else:
            yield found
            return
    lacking(REMEDIES[request.param], "; ".join(reasons))
