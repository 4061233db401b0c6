"""Progress of a run: bars on a terminal, plain lines elsewhere, nothing when asked for nothing.

Everything goes to standard error, and only committed events are counted. Taking an event in costs
a few additions; drawing happens beside it, a few times a second. A display that cannot be written
to falls silent: it never stops a run.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TextIO

from themis.analysis.tables import cost_text
from themis.core.events import Event, EventKind, Stage
from themis.planning.compiled_run import CompiledRun

DRAWINGS_A_SECOND = 8
SECONDS_BETWEEN_LINES = 5.0

_TOKENS = re.compile(rb'"token_usage":\{([^{}]*)\}')
_COUNT = re.compile(rb'"(?:prompt|completion)_tokens":(\d+)')


class Display(Protocol):
    """Shows events once they are committed."""

    def committed(self, events: Sequence[Event], /) -> object:
        """Take note of committed events."""
        ...


@contextmanager
def shown_progress(progress: bool | None, run: CompiledRun) -> Iterator[Display | None]:
    """Show a run's progress on standard error while the context lasts.

    Args:
        progress: True shows it, as bars on a terminal and as plain lines elsewhere; None shows it
            on a terminal only; False shows nothing.
        run: the run.
    """
    is_terminal = sys.stderr.isatty()
    if progress is False or (progress is None and not is_terminal):
        yield None
        return
    tally = Tally(run)
    display = Bars(tally) if is_terminal else Lines(tally, sys.stderr)
    try:
        yield display
    finally:
        display.end()


class Tally:
    """Counts what is committed, from where the journal already was.

    Attributes:
        steps: by stage that this attempt takes, steps done or failed so far.
        totals: by stage, steps in all; judged metrics count once however many calls they make.
        cases: cases finished, those of earlier attempts included.
        n_cases: cases in all.
        errors: failed steps.
        tokens: prompt and completion tokens of new work.
        cost_usd: US dollars of new work, as far as its price is known.
        unpriced_calls: calls of new work that used tokens at an unknown price.
    """

    def __init__(self, run: CompiledRun, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_case = run.pipeline.steps_per_case()
        self._clock = clock
        self._began = clock()
        self._cases_before = 0
        self.n_cases = run.snapshot.n_cases
        self.cases = 0
        self.errors = 0
        self.tokens = 0
        self.cost_usd = 0.0
        self.unpriced_calls = 0
        self.steps: dict[Stage, int] = {}
        self.totals: dict[Stage, int] = {}

    def committed(self, events: Sequence[Event], /) -> None:
        """Take note of committed events."""
        for event in events:
            address = event.address
            if address is not None:
                # A judge's single calls are seen in tokens and errors; the bar counts verdicts.
                if address.call is None and address.stage in self.steps:
                    self.steps[address.stage] += 1
                if event.kind is EventKind.STEP_FAILED:
                    self.errors += 1
                elif event.artifact is not None and not event.reused:
                    self._count(_tokens(event.artifact.raw), event.data.get("cost"))
            elif event.kind is EventKind.CASE_FINISHED:
                self.cases += 1
            elif event.kind is EventKind.RUN_STARTED:
                self._start(event.data)

    def done(self, stage: Stage) -> int:
        """Return the steps of a stage that need no more doing; those of finished cases at least."""
        least = self.cases * self._per_case[stage]
        return min(max(self.steps[stage], least), self.totals[stage])

    @property
    def seconds(self) -> float:
        """Seconds since this attempt began."""
        return self._clock() - self._began

    @property
    def rate(self) -> float:
        """Cases a second, of those finished in this attempt."""
        return (self.cases - self._cases_before) / max(self.seconds, 1e-3)

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at this rate; None before the first case."""
        return (self.n_cases - self.cases) / self.rate if self.rate else None

    def summary(self) -> str:
        """Return all of it in one line."""
        parts = [f"{self.cases}/{self.n_cases} cases", f"{self.rate:.1f} a second"]
        if self.tokens:
            parts.append(f"{self.tokens:,} tokens")
        if self.tokens or self.cost_usd:
            parts.append(cost_text(self.cost_usd, self.unpriced_calls))
        parts.append(f"{self.errors} errors")
        parts.append(f"{_duration(self.seconds)} so far")
        left = self.seconds_left
        if left:
            parts.append(f"{_duration(left)} left")
        return ", ".join(parts)

    def _count(self, tokens: int, cost: float | None) -> None:
        self.tokens += tokens
        if cost is not None:
            self.cost_usd += cost
        elif tokens:
            self.unpriced_calls += 1

    def _start(self, data: dict[str, Any]) -> None:
        """Begin from what was there: cases passed over as done, stages not taken left out."""
        until = Stage(data.get("until", Stage.JUDGE))
        redo = {Stage(name) for name in data.get("redo") or Stage}
        self.cases = self._cases_before = data.get("done_cases", 0)
        self._began = self._clock()
        for stage, count in self._per_case.items():
            if stage.order <= until.order and stage in redo:
                self.totals[stage] = count * self.n_cases
                self.steps[stage] = count * self.cases


class Lines:
    """Writes plain lines: one every few seconds at most, and one at the end."""

    def __init__(
        self, tally: Tally, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tally = tally
        self._stream = stream
        self._clock = clock
        self._last = clock()
        self._has_begun = False

    def committed(self, events: Sequence[Event], /) -> None:
        """Take note of committed events."""
        self._tally.committed(events)
        self._has_begun = True
        now = self._clock()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            self._write()

    def end(self) -> None:
        """Write the last line, if anything happened."""
        if self._has_begun:
            self._write()

    def _write(self) -> None:
        with suppress(OSError, ValueError):  # nobody reads any more
            self._stream.write(f"themis: {self._tally.summary()}\n")
            self._stream.flush()


class Bars:
    """Draws bars in rich's own thread, from the first event on."""

    def __init__(self, tally: Tally) -> None:
        from rich.console import Console
        from rich.live import Live

        self._tally = tally
        self._has_begun = False
        self._live = Live(
            get_renderable=lambda: _drawing(tally),
            console=Console(stderr=True),
            auto_refresh=True,
            refresh_per_second=DRAWINGS_A_SECOND,
            # What components print appears above the bars; results piped elsewhere are left alone.
            redirect_stdout=sys.stdout.isatty(),
        )

    def committed(self, events: Sequence[Event], /) -> None:
        """Take note of committed events."""
        self._tally.committed(events)
        if not self._has_begun:
            self._has_begun = True
            self._live.start()

    def end(self) -> None:
        """Draw for the last time, if anything happened."""
        if self._has_begun:
            self._live.stop()


def _drawing(tally: Tally) -> Any:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    for stage, total in tally.totals.items():
        done = tally.done(stage)
        grid.add_row(
            stage.value,
            ProgressBar(total=total, completed=done, width=32),
            Text(f"{done}/{total}", justify="right"),
        )
    return Group(grid, Text(tally.summary()))


def _tokens(raw: bytes) -> int:
    """Return the tokens that a stored answer tells of, without decoding it."""
    found = _TOKENS.search(raw, max(raw.rfind(b'"token_usage":'), 0))
    return 0 if found is None else sum(int(count) for count in _COUNT.findall(found[1]))


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
