"""Themis runs reproducible evaluations of language models, and of anything that behaves like one.

The story of a run:

1. A user writes an ``Experiment``: datasets, a generator, an evaluation, a store.
2. *Planning* checks it and compiles it into an immutable snapshot, named by what was asked.
3. *Execution* takes each case through generate, select, reduce, parse, score and judge: each step
   has a key over all it depends on; where the key's artifact is there, it is used, else it is made.
4. Every step is journaled in a *store* before it is counted: a killed run loses what was in flight.
5. *Views* fold the journal into results; *analysis* says how sure the numbers are.
6. *Reporting* tells people, *exchange* other programs, the *command line* does it all from a shell.
7. Running again does only what is not done.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from themis.core.config import RuntimeConfig as RuntimeConfig
    from themis.core.config import use as use
    from themis.core.errors import ThemisError as ThemisError
    from themis.core.prompts import PromptSpec as PromptSpec
    from themis.core.results import RunEstimate as RunEstimate
    from themis.core.results import RunStatus as RunStatus
    from themis.core.run_plan import RunPlan as RunPlan
    from themis.core.snapshot import RunSnapshot as RunSnapshot
    from themis.core.store import RunStore as RunStore
    from themis.exchange.bundles import export_evaluation_bundle as export_evaluation_bundle
    from themis.exchange.bundles import export_generation_bundle as export_generation_bundle
    from themis.exchange.bundles import export_parse_bundle as export_parse_bundle
    from themis.exchange.bundles import export_reduction_bundle as export_reduction_bundle
    from themis.exchange.bundles import export_score_bundle as export_score_bundle
    from themis.exchange.bundles import import_evaluation_bundle as import_evaluation_bundle
    from themis.exchange.bundles import import_generation_bundle as import_generation_bundle
    from themis.exchange.bundles import import_parse_bundle as import_parse_bundle
    from themis.exchange.bundles import import_reduction_bundle as import_reduction_bundle
    from themis.exchange.bundles import import_score_bundle as import_score_bundle
    from themis.exchange.imported_outputs import import_outputs as import_outputs
    from themis.experiment.evaluate import evaluate as evaluate
    from themis.experiment.evaluate import evaluate_async as evaluate_async
    from themis.experiment.experiment import Experiment as Experiment
    from themis.experiment.queries import get_evaluation_execution as get_evaluation_execution
    from themis.experiment.queries import get_execution_state as get_execution_state
    from themis.experiment.queries import get_run_snapshot as get_run_snapshot
    from themis.experiment.queries import quickcheck as quickcheck
    from themis.experiment.queries import snapshot_report as snapshot_report
    from themis.experiment.result import RunResult as RunResult
    from themis.planning.compare.explain import explain as explain
    from themis.reporting import Reporter as Reporter
    from themis.stores.factory import sqlite_store as sqlite_store
    from themis.stores.memory import InMemoryRunStore as InMemoryRunStore
    from themis.stores.sqlite import SqliteRunStore as SqliteRunStore

_HOMES = {
    "Experiment": "experiment.experiment",
    "InMemoryRunStore": "stores.memory",
    "PromptSpec": "core.prompts",
    "Reporter": "reporting",
    "RunEstimate": "core.results",
    "RunPlan": "core.run_plan",
    "RunResult": "experiment.result",
    "RunSnapshot": "core.snapshot",
    "RunStatus": "core.results",
    "RunStore": "core.store",
    "RuntimeConfig": "core.config",
    "SqliteRunStore": "stores.sqlite",
    "ThemisError": "core.errors",
    "evaluate": "experiment.evaluate",
    "evaluate_async": "experiment.evaluate",
    "explain": "planning.compare.explain",
    "export_evaluation_bundle": "exchange.bundles",
    "export_generation_bundle": "exchange.bundles",
    "export_parse_bundle": "exchange.bundles",
    "export_reduction_bundle": "exchange.bundles",
    "export_score_bundle": "exchange.bundles",
    "get_evaluation_execution": "experiment.queries",
    "get_execution_state": "experiment.queries",
    "get_run_snapshot": "experiment.queries",
    "import_evaluation_bundle": "exchange.bundles",
    "import_generation_bundle": "exchange.bundles",
    "import_outputs": "exchange.imported_outputs",
    "import_parse_bundle": "exchange.bundles",
    "import_reduction_bundle": "exchange.bundles",
    "import_score_bundle": "exchange.bundles",
    "quickcheck": "experiment.queries",
    "snapshot_report": "experiment.queries",
    "sqlite_store": "stores.factory",
    "use": "core.config",
}
"""Where each public name lives; loaded when first asked for, so that importing Themis is quick."""

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604 - names are the table's


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'themis' has no attribute '{name}'")
    value = getattr(import_module(f"themis.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
