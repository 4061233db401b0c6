"""A pool of worker processes for ``cpu_bound`` components.

Each worker has its own pipes and makes one call at a time: a crash, a hang or a fork in one cannot
delay or corrupt another call. Workers are started when first needed. They do not run the user's
script again, ignore Ctrl-C, and end with the run or its process.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
import time
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from typing import Any

from themis.core.config import RuntimeConfig
from themis.execution.failures import UnsendableError
from themis.execution.workers.process import OPENING_SECONDS, Call, Worker
from themis.planning.compiled_run import BoundComponent, CompiledRun


def usable_cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pool_name(bound: BoundComponent) -> str:
    """Return a component's name in its run's pool."""
    return f"{bound.ref.role}:{bound.name}"


def pool_for(run: CompiledRun, runtime: RuntimeConfig) -> ProcessPool:
    """Return a pool for the ``cpu_bound`` components of a run; no process is started yet."""
    bounds = [
        bound
        for bound in run.bounds()
        if bound.capabilities.cpu_bound or bound.capabilities.cpu_bound_over
    ]
    timeouts: dict[str, float | None] = {}
    for bound in bounds:
        own = bound.capabilities.cpu_timeout
        timeouts[pool_name(bound)] = runtime.cpu_timeout if own is None else own
    return ProcessPool(
        {pool_name(bound): bound.component for bound in bounds},
        timeouts=timeouts,
        workers=runtime.cpu_workers or usable_cpus(),
    )


class ProcessPool:
    """Calls methods of components in worker processes.

    Args:
        components: components by name; each is pickled once, when first needed.
        timeouts: seconds that one call of a component may take, by name; None for no limit.
        workers: the most processes.
    """

    def __init__(
        self,
        components: Mapping[str, Any],
        *,
        timeouts: Mapping[str, float | None],
        workers: int,
    ) -> None:
        self._components = components
        self._timeouts = timeouts
        self._most = workers
        self._pickled: dict[str, bytes] = {}
        self._jobs: SimpleQueue[Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        """Guards the count of idle workers, which their threads raise and the event loop lowers."""
        self._idle = 0
        self._workers: list[Worker] = []
        self._threads: list[threading.Thread] = []
        self._timer: asyncio.TimerHandle | None = None
        limits = [one for one in timeouts.values() if one is not None]
        self._shortest = min([OPENING_SECONDS, *limits])

    async def call(self, name: str, method: str, args: Sequence[Any], *, of: Any = None) -> Any:
        """Call a method in a worker process and return what it returns.

        Args:
            name: the component.
            method: its method.
            args: its arguments.
            of: an object whose method is called in place of the component's; it is sent along.

        Raises:
            RemoteError: the method raised.
            ExplainedError: the process ended during the call; the category is "crash".
            AttemptTimeoutError: the call took too long; its process was ended.
            UnsendableError: an argument or the result cannot be pickled.
        """
        try:
            if name not in self._pickled:
                self._pickled[name] = pickle.dumps(self._components[name])
            request = pickle.dumps((name, of, method, args))
        except Exception as error:
            raise UnsendableError(
                f"{method}() is cpu_bound, but it or what it is given cannot be pickled: {error}"
            ) from error
        job = Call(name, self._pickled[name], request, self._timeouts[name])
        self._enqueue(job)
        try:
            return await job.future
        except asyncio.CancelledError:
            job.given_up = True
            if job.worker is not None:
                job.worker.end_call(job)
            raise

    def close(self) -> None:
        """End all workers and the processes they started, and wait for that."""
        if self._timer is not None:
            self._timer.cancel()
        for _ in self._threads:
            self._jobs.put(None)
        for worker in self._workers:
            worker.kill()
        for thread in self._threads:
            thread.join(OPENING_SECONDS)

    def _enqueue(self, job: Call) -> None:
        with self._lock:
            if self._idle or len(self._workers) == self._most:
                self._idle -= 1  # negative: calls that wait for a busy worker
            else:
                worker = Worker()
                thread = threading.Thread(
                    target=self._serve, args=(worker,), name="themis-worker", daemon=True
                )
                self._workers.append(worker)
                self._threads.append(thread)
                thread.start()
        self._jobs.put(job)
        if self._timer is None:
            self._watch()

    def _serve(self, worker: Worker) -> None:
        """Give jobs to one worker, one at a time. Runs in the worker's thread."""
        while (job := self._jobs.get()) is not None:
            job.worker = worker
            if not job.given_up:
                job.settle_from_thread(worker.do(job))
            job.worker = None
            with self._lock:
                self._idle += 1
        worker.end()

    def _watch(self) -> None:
        """End overdue calls, looking again no later than the next call's time limit."""
        now = time.monotonic()
        nearest = self._shortest
        for worker in self._workers:
            left = worker.check(now)
            if left is not None:
                nearest = min(nearest, left)
        self._timer = asyncio.get_running_loop().call_later(nearest, self._watch)
