"""Looking at a kept run from code: its snapshot, how it stands, one evaluation, a quick check.

A run is named by its id or, as of its attempt n, by ``RUN@n``.
"""

from __future__ import annotations

from typing import Any

from themis.core.errors import DefinitionError, did_you_mean
from themis.core.judging import EvaluationExecution
from themis.core.redaction import redact
from themis.core.results import ExecutionState
from themis.core.snapshot import RunSnapshot
from themis.core.store import RunStore
from themis.experiment.result import RunResult
from themis.views.attempts import as_of
from themis.views.case_results import case_result
from themis.views.cases import find_case
from themis.views.headline import execution_state


def get_run_snapshot(store: RunStore, run_id: str) -> RunSnapshot:
    """Return a run's snapshot.

    Raises:
        RunNotFoundError: the store has no such run.
        DefinitionError: the run has no attempt of the number named.
    """
    shown, run = as_of(store, run_id)
    return shown.load_snapshot(run)


def get_execution_state(store: RunStore, run_id: str) -> ExecutionState:
    """Return how a run stands: status, attempts, counts of steps, tokens, errors.

    Raises:
        RunNotFoundError: the store has no such run.
        DefinitionError: the run has no attempt of the number named.
    """
    return execution_state(*as_of(store, run_id))


def get_evaluation_execution(
    store: RunStore,
    run_id: str,
    case_id: str,
    metric_id: str,
    *,
    dataset_id: str | None = None,
    case_key: str | None = None,
) -> EvaluationExecution:
    """Return all that happened in one judged metric of one case: prompts, answers, judgments.

    Args:
        store: where the run is.
        run_id: the run.
        case_id: the case.
        metric_id: the judged metric's name.
        dataset_id: the case's dataset, where two datasets share case ids.
        case_key: or its key, which says both.

    Raises:
        DefinitionError: there is no such case, or the metric asked no judge about it.
    """
    shown, run = as_of(store, run_id)
    snapshot = shown.load_snapshot(run)
    names = [metric.name for metric in snapshot.identity.metrics]
    if metric_id not in names:
        raise DefinitionError(
            f"run {run_id} has no metric '{metric_id}'{did_you_mean(metric_id, names)}",
            field="metric_id",
            value=metric_id,
        )
    case = find_case(shown, snapshot, case_id, dataset_id=dataset_id, case_key=case_key)
    for execution in case_result(shown, snapshot, case.position).evaluation_executions:
        if execution.metric_id == metric_id:
            return execution
    raise DefinitionError(
        f"metric '{metric_id}' asked no judge about case '{case_id}' in run {run_id}",
        field="metric_id",
        value=metric_id,
    )


def quickcheck(store: RunStore, run_id: str) -> dict[str, Any]:
    """Return a run's headline as plain data: status, counts, and each metric's figures."""
    result = RunResult.of(store, run_id)
    state, progress = result.state, result.progress
    return {
        "run_id": result.run_id,
        "attempt": state.attempt,
        "later_attempts": state.later_attempts,
        "status": result.status.value,
        "reason": result.reason,
        "cases": len(result.cases),
        "cases_finished": progress.cases_finished,
        "cases_with_errors": progress.cases_with_errors,
        "steps_done": progress.steps_done,
        "steps_reused": progress.steps_reused,
        "steps_renewed": progress.renewed,
        "oldest": progress.oldest,
        "newest": progress.newest,
        "reported": [one.model_dump(mode="json") for one in progress.reported],
        "deviating": progress.deviating,
        "tokens": progress.tokens,
        "tokens_reused": progress.tokens_reused,
        "cost_usd": progress.cost_usd,
        "unpriced_calls": progress.unpriced_calls,
        "cost": result.cost,
        "latency_ms": progress.latency_ms,
        "metrics": {name: one.plain() for name, one in result.metrics.items()},
        "notes": result.notes,
    }


def snapshot_report(snapshot: RunSnapshot) -> dict[str, Any]:
    """Return a snapshot as plain data: run id, what was asked, every component, provenance.

    What stands under a secret's name is hidden.
    """
    report: dict[str, Any] = redact(
        {
            "run_id": snapshot.run_id,
            "identity": snapshot.identity.asked(),
            "components": {name: ref.plain() for name, ref in snapshot.component_refs.items()},
            "provenance": snapshot.provenance.plain(),
        }
    )
    return report
