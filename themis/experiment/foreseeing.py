"""Looking ahead from blocking code, in a store that is left as it is: what a run would do."""

from __future__ import annotations

from themis.core.config import RuntimeConfig, StorageConfig
from themis.core.errors import RunNotFoundError
from themis.core.plans import Explanation, RunPlan
from themis.core.protocols import RunStore
from themis.execution.plan import foresee
from themis.execution.stopping import Stopper
from themis.execution.wish import Wish
from themis.experiment.running import run_blocking
from themis.planning.explain import explain_change
from themis.planning.work import CompiledRun
from themis.stores.factory import open_existing_store


def plan_of(
    run: CompiledRun,
    wish: Wish,
    *,
    runtime: RuntimeConfig,
    store: RunStore | StorageConfig,
    compare_with: str | None = None,
) -> RunPlan:
    """Return what a run would do.

    Args:
        run: the run.
        wish: what would be asked for.
        runtime: the settings it would run under.
        store: where it is kept, or how that is opened; no file is made.
        compare_with: id of the run that reasons compare with.
    """
    kept = _opened(store)
    return run_blocking(
        lambda: foresee(run, kept, runtime=runtime, wish=wish, compare_with=compare_with),
        Stopper(),
    )


def explanation_of(
    run: CompiledRun, run_id: str, *, store: RunStore | StorageConfig
) -> Explanation:
    """Return in what an experiment, as it stands, differs from a kept run.

    Raises:
        RunNotFoundError: the store has no such run, or is not there yet.
    """
    kept = _opened(store)
    if kept is None:
        raise RunNotFoundError(run_id)
    return explain_change(kept, run_id, run)


def _opened(store: RunStore | StorageConfig) -> RunStore | None:
    """Return the store, where it is there: who only looks makes no file."""
    return open_existing_store(store) if isinstance(store, StorageConfig) else store
