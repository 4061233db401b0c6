"""Tools for testing your own stores, generators and other components.

- ``StoreContract``: subclass it, and pytest holds a store to every line of ``RunStore``.
- ``ScriptedGenerator``, ``ScriptedJudge``, ``CountingParser``, ``CountingMetric``: components with
  scripted results that count their calls, to use together with your own.
- ``CallLog``: a file of calls that outlives its process.
- ``CrashHarness``: runs a script and kills it at a chosen moment; ``Running`` is a running script,
  ``Outcome`` how it ended.

The suites use a component only through its protocol. Modules are loaded on first use; only the
suites need pytest.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from themis.testing.crash import CrashHarness as CrashHarness
    from themis.testing.crash import Outcome as Outcome
    from themis.testing.crash import Running as Running
    from themis.testing.scripted import CallLog as CallLog
    from themis.testing.scripted import CountingMetric as CountingMetric
    from themis.testing.scripted import CountingParser as CountingParser
    from themis.testing.scripted import ScriptedGenerator as ScriptedGenerator
    from themis.testing.scripted import ScriptedJudge as ScriptedJudge
    from themis.testing.store_contract import StoreContract as StoreContract

_HOMES = {
    "CallLog": "scripted",
    "CountingMetric": "scripted",
    "CountingParser": "scripted",
    "CrashHarness": "crash",
    "Outcome": "crash",
    "Running": "crash",
    "ScriptedGenerator": "scripted",
    "ScriptedJudge": "scripted",
    "StoreContract": "store_contract",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605 - names are the table's

if "pytest" in sys.modules:  # failing asserts then show the compared values
    sys.modules["pytest"].register_assert_rewrite(
        "themis.testing.store_contract", "themis.testing.store_journal_contract"
    )


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'themis.testing' has no attribute '{name}'")
    return getattr(import_module(f"themis.testing.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
