"""An experiment: what to run, written down once, and the verbs that carry it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from themis.core.config import (
    EvaluationConfig,
    GenerationConfig,
    RuntimeConfig,
    StorageConfig,
    reusable_seconds,
)
from themis.core.errors import (
    BudgetSpentError,
    DefinitionError,
    RunInterrupted,
    RunNotFoundError,
    RunStoppedError,
)
from themis.core.events import Stage
from themis.core.models import Dataset
from themis.core.results import RunEstimate, RunStatus
from themis.execution.attempt import Mode, RunRequest, stages_from

if TYPE_CHECKING:
    from themis.core.protocols import TracingProvider
    from themis.core.run_plan import Explanation, RunPlan
    from themis.core.snapshot import RunSnapshot
    from themis.core.store import Listener, RunStore
    from themis.execution.signals import Stopper
    from themis.experiment.preview import CasePreview, Outputs
    from themis.experiment.result import RunResult
    from themis.planning.compiled_run import CompiledRun

_SECTIONS: Mapping[str, type] = {
    "generation": GenerationConfig,
    "evaluation": EvaluationConfig,
    "storage": StorageConfig,
    "runtime": RuntimeConfig,
}


class RunOptions(TypedDict, total=False):
    """What every verb of an experiment takes."""

    runtime: RuntimeConfig | None
    """Settings in place of the experiment's."""
    store: RunStore | None
    """A store in place of the experiment's."""
    subscribers: Sequence[Any] | None
    """Objects with ``on_event`` or any ``before_``/``after_`` method of a stage."""
    tracing_provider: TracingProvider | None
    """Receives spans."""
    progress: bool | None
    """True shows progress, False shows nothing, None (the default) shows it on a terminal."""
    take_over: bool
    """Whether a process that works on the run and cannot be asked after, as one on another machine,
    is surely dead: then its run is taken over at once. One that is seen to run keeps it."""


class Experiment:
    """What to run: datasets, a generator, an evaluation, and where to keep it all.

    Args:
        generation: what produces candidates.
        evaluation: what scores them.
        storage: where the run is kept.
        runtime: concurrency, limits, timeouts, retries; never part of identity.
        datasets: what is asked; at least one.
        seeds: one a sample, or none to have them derived.
        environment_metadata: facts about this environment, kept as provenance.

    Raises:
        DefinitionError: an argument is not what it should be.
    """

    def __init__(
        self,
        *,
        generation: GenerationConfig,
        evaluation: EvaluationConfig,
        storage: StorageConfig,
        runtime: RuntimeConfig | None = None,
        datasets: Sequence[Dataset] = (),
        seeds: Sequence[int] = (),
        environment_metadata: Mapping[str, Any] | None = None,
    ) -> None:
        from themis.experiment.checking import check_kind, listed

        self.generation = generation
        self.evaluation = evaluation
        self.storage = storage
        self.runtime = runtime if runtime is not None else RuntimeConfig()
        self.datasets = listed("datasets", datasets)
        self.seeds = listed("seeds", seeds)
        check_kind("environment_metadata", environment_metadata or {}, Mapping)
        self.environment_metadata = dict(environment_metadata or {})
        for name, model in _SECTIONS.items():
            check_kind(name, getattr(self, name), model)
        for index, dataset in enumerate(self.datasets):
            check_kind(f"datasets[{index}]", dataset, Dataset)
        self._store: RunStore | None = None

    @classmethod
    def from_config(cls, path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Read an experiment from a YAML or TOML file.

        Args:
            path: the file; relative paths inside it are taken from its folder.
            overrides: ``"section.key=value"`` each, the value read as YAML.

        Raises:
            ConfigError: the file is missing or broken. DefinitionError: it says what is refused.
        """
        from themis.experiment.config.file import read_experiment

        return cls(**read_experiment(Path(path), overrides))

    @property
    def store(self) -> RunStore:
        """The experiment's own store, opened when first needed and kept."""
        if self._store is None:
            from themis.stores.factory import open_store

            self._store = open_store(self.storage)
        return self._store

    def compile(self) -> RunSnapshot:
        """Check everything and return the immutable snapshot, with its ``run_id``.

        Raises:
            DefinitionError: with one line that names the field, the value and the way out.
        """
        return self._compile(self.runtime).snapshot

    def run(
        self,
        *,
        until_stage: str = "judge",
        reuse: str | None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Run, resume, or reuse: whatever is not done yet is done.

        Args:
            until_stage: the last stage to take ("generate", "select", "reduce", "parse", "score",
                "judge").
            reuse: in place of ``RuntimeConfig.reuse``: "all", "none" or a duration such as "24h".
            **options: see ``RunOptions``.

        Raises:
            RunStoppedError: a failure that every case would share; resumable once mended.
            RunInterrupted: Ctrl-C; what was finished is kept.
        """
        request = self._run_request(until_stage, reuse, options)
        return self._carry_out_blocking(request, options)

    async def run_async(
        self,
        *,
        until_stage: str = "judge",
        reuse: str | None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Do what ``run`` does, on the caller's event loop."""
        request = self._run_request(until_stage, reuse, options)
        return await self._carry_out(request, options)

    def replay(
        self,
        *,
        stage: str,
        metric_ids: Sequence[str] | None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Do a stage and those below it again, and nothing above.

        Args:
            stage: the first stage to do again.
            metric_ids: of parsing, scoring and judging, only what these metrics need.
            **options: see ``RunOptions``.
        """
        request = self._redo_request("replay", stage, metric_ids, options)
        return self._carry_out_blocking(request, options)

    async def replay_async(
        self,
        *,
        stage: str,
        metric_ids: Sequence[str] | None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Do what ``replay`` does, on the caller's event loop."""
        request = self._redo_request("replay", stage, metric_ids, options)
        return await self._carry_out(request, options)

    def rejudge(
        self, *, metric_ids: Sequence[str] | None = None, **options: Unpack[RunOptions]
    ) -> RunResult:
        """Ask the judges again, of all judged metrics or of those named."""
        request = self._redo_request("rejudge", "judge", metric_ids, options)
        return self._carry_out_blocking(request, options)

    async def rejudge_async(
        self, *, metric_ids: Sequence[str] | None = None, **options: Unpack[RunOptions]
    ) -> RunResult:
        """Do what ``rejudge`` does, on the caller's event loop."""
        request = self._redo_request("rejudge", "judge", metric_ids, options)
        return await self._carry_out(request, options)

    def plan(
        self,
        *,
        until_stage: str = "judge",
        reuse: str | None = None,
        compare_with: str | None = None,
        runtime: RuntimeConfig | None = None,
        store: RunStore | None = None,
    ) -> RunPlan:
        """Return what ``run`` would do, step by step, and why, before it does it.

        Spends nothing and writes nothing. Judged metrics say what they would ask, and nobody is
        asked it.

        Args:
            until_stage: the last stage to take.
            reuse: what may be reused, as ``run`` takes it.
            compare_with: the run that reasons compare with; else itself, or the one closest to it.
            runtime: settings in place of the experiment's.
            store: a store in place of the experiment's.

        Raises:
            DefinitionError: it is refused. RunNotFoundError: there is no such run to compare with.
        """
        request = self._run_request(until_stage, reuse, {"runtime": runtime, "store": store})
        settings = runtime or self.runtime
        return self._plan(self._compile(settings), request, settings, store, compare_with)

    def estimate(self, *, store: RunStore | None = None) -> RunEstimate:
        """Return what a run would do, before it does it: its steps, and what generations cost."""
        from themis.planning.estimate import estimate_of

        request = self._run_request("generate", None, {"store": store})
        run = self._compile(self.runtime)
        return estimate_of(run, self._plan(run, request, self.runtime, store))

    def explain(self, run_id: str, *, store: RunStore | None = None) -> Explanation:
        """Return what differs between this experiment and a kept run, and so between their ids.

        Args:
            run_id: the kept run.
            store: a store in place of the experiment's.

        Raises:
            RunNotFoundError: the store has no such run.
        """
        from themis.planning.compare.explain import explain_change

        run, kept = self._compile(self.runtime), self._kept(store)
        if kept is None:
            raise RunNotFoundError(run_id)
        return explain_change(kept, run_id, run)

    def preview(self, n: int = 3, *, outputs: Outputs = None) -> list[CasePreview]:
        """Return the exact requests of the first cases, and what would be made of an output.

        Sends nothing, writes nothing and opens no store; users' own code is called as in a run,
        generators and judges are not asked.

        Args:
            n: how many cases.
            outputs: what to parse and score: one text for every case, a list in order of the
                cases, or a mapping by case id; each a JSON value or a ``GenerationResult``.

        Raises:
            DefinitionError: the experiment is refused, or the request of a case cannot be made.
        """
        from themis.execution.signals import Stopper
        from themis.experiment.blocking import run_blocking
        from themis.experiment.preview import preview

        run = self._compile(self.runtime)
        return run_blocking(lambda: preview(run, n=n, outputs=outputs), Stopper())

    def _compile(self, runtime: RuntimeConfig) -> CompiledRun:
        from themis.experiment.checking import plugins_of
        from themis.planning.compile import compile_run
        from themis.planning.prices import check_budget

        run = compile_run(
            generation=self.generation,
            evaluation=self.evaluation,
            datasets=self.datasets,
            seeds=self.seeds,
            environment=self.environment_metadata,
            store=self.storage.store,
            runtime=runtime.model_dump(mode="json", exclude_defaults=True),
            plugins=plugins_of(self.generation, self.evaluation, self.storage),
        )
        check_budget(run, runtime)
        return run

    def _run_request(self, until_stage: str, reuse: str | None, options: RunOptions) -> RunRequest:
        from themis.experiment.checking import check_options, stage_named

        check_options(options, RunOptions.__annotations__)
        runtime = options.get("runtime") or self.runtime
        until = stage_named(until_stage, "until_stage")
        reuse = runtime.reuse if reuse is None else reuse
        reusable_seconds(reuse)  # refuses what is none
        if runtime.existing_run_policy == "rerun":  # which reuses nothing as it is
            return RunRequest(mode="rerun", until=until, redo=frozenset(Stage))
        return RunRequest(until=until, reuse=reuse)

    def _redo_request(
        self, mode: Mode, stage: str, metric_ids: Sequence[str] | None, options: RunOptions
    ) -> RunRequest:
        from themis.experiment.checking import check_options, stage_named

        check_options(options, RunOptions.__annotations__)
        first = stage_named(stage, "stage")
        return RunRequest(mode=mode, redo=stages_from(first), metric_ids=metric_ids)

    def _plan(
        self,
        run: CompiledRun,
        request: RunRequest,
        runtime: RuntimeConfig,
        store: RunStore | None,
        compare_with: str | None = None,
    ) -> RunPlan:
        from themis.execution.plan.plan import plan_run
        from themis.execution.signals import Stopper
        from themis.experiment.blocking import run_blocking
        from themis.stores.memory import InMemoryRunStore

        kept = self._kept(store) or InMemoryRunStore()  # without a store yet, nothing is kept
        planned = plan_run(run, kept, runtime=runtime, request=request, compare_with=compare_with)
        return run_blocking(lambda: planned, Stopper())

    def _kept(self, store: RunStore | None) -> RunStore | None:
        """Return the store to look into; None where opening it would make a new file."""
        from themis.stores.factory import open_existing_store

        kept = store if store is not None else self._store
        return open_existing_store(self.storage) if kept is None else kept

    def _target(self, run: CompiledRun, request: RunRequest, store: RunStore | None) -> RunStore:
        """Return the store to work in; what was never run is not there to be done again."""
        if request.mode not in ("replay", "rejudge"):
            return self.store if store is None else store
        kept = self._kept(store)
        if kept is None or all(run.run_id != one.run_id for one in kept.runs()):
            raise DefinitionError(
                f"{request.mode}: run {run.run_id} is not in the store; the experiment, as it "
                "stands, was never run. Run it first",
                field="run_id",
                value=run.run_id,
            )
        return kept

    def _carry_out_blocking(self, request: RunRequest, options: RunOptions) -> RunResult:
        from themis.execution.signals import Stopper
        from themis.experiment.blocking import run_blocking

        stopper = Stopper()
        return run_blocking(lambda: self._carry_out(request, options, stopper), stopper)

    async def _carry_out(
        self, request: RunRequest, options: RunOptions, stopper: Stopper | None = None
    ) -> RunResult:
        from themis.execution.runner import execute
        from themis.execution.signals import Stopper
        from themis.experiment.checking import check_request
        from themis.experiment.progress import shown_progress
        from themis.experiment.result import RunResult

        runtime = options.get("runtime") or self.runtime
        run = self._compile(runtime)
        check_request(run, request)
        target = self._target(run, request, options.get("store"))
        with shown_progress(options.get("progress"), run) as display:
            listeners: list[Listener] = [] if display is None else [display.committed]
            ended = await execute(
                run,
                target,
                runtime=runtime,
                request=request,
                provenance=run.snapshot.provenance,
                stopper=stopper or Stopper(),
                listeners=listeners,
                subscribers=options.get("subscribers"),
                tracing=options.get("tracing_provider"),
                take_over=options.get("take_over", False),
            )
        if ended.spent_out is not None and ended.status is RunStatus.INTERRUPTED:
            raise BudgetSpentError(
                f"run {run.run_id} was interrupted by its budget: {ended.spent_out}. All that was "
                "finished is kept: run it again with a larger budget to go on",
                run_id=run.run_id,
            )
        if ended.put_off is not None and ended.status is RunStatus.INTERRUPTED:
            raise RunStoppedError(
                f"run {run.run_id} stopped: {ended.put_off}. All that was finished is kept: run it "
                "again later, or with a larger longest_pause to wait for as long",
                run_id=run.run_id,
            )
        if ended.status is RunStatus.INTERRUPTED:
            raise RunInterrupted(
                f"run {run.run_id} was interrupted; all that was finished is kept. Run it again "
                "to go on from there",
                run_id=run.run_id,
            )
        if ended.fatal is not None:
            raise RunStoppedError(
                f"run {run.run_id} stopped early, since every case would fail alike: "
                f"{ended.fatal.message}. Mend it and run again: what was finished is kept",
                run_id=run.run_id,
            )
        return RunResult(target, run.snapshot)
