"""A report to read in a terminal, a pull request or a wiki: CommonMark with pipe tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from themis.analysis.tables import (
    attempts_text,
    bootstrap_text,
    corpus_text,
    headings,
    headline_rows,
    times_text,
)
from themis.reporting.facts import (
    WORK_HEADINGS,
    ReportFacts,
    RunFacts,
    duration,
    when,
    work_rows,
)
from themis.reporting.judges import JUDGE_HEADINGS, JUDGES_LEGEND, judge_lines, judge_rows

_MARKUP = re.compile(r"([\\`*\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_]))")
"""An underscore within a word is no markup, and names are full of them."""


def render(facts: ReportFacts) -> Iterator[str]:
    """Yield the report, section by section."""
    yield f"# {escape(facts.title)}\n\n"
    yield from _headline(facts)
    if not facts.is_one_run:
        yield "\n## Work\n\n"
        yield from _table(WORK_HEADINGS, work_rows(facts), text_columns=4)
    for run in facts.runs:
        yield from _run(run, several=not facts.is_one_run)


def escape(text: str) -> str:
    """Return text that Markdown shows as it stands, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _headline(facts: ReportFacts) -> Iterator[str]:
    several = not facts.is_one_run
    lines = [
        (*((run.label,) if several else ()), *row)
        for run in facts.runs
        for summary in run.summaries
        for row in headline_rows(summary)
    ]
    if not lines:
        yield "No metrics.\n"
        return
    summaries = [summary for run in facts.runs for summary in run.summaries]
    head = (*(("run",) if several else ()), *headings(summaries))
    yield from _table(head, lines, text_columns=2 if several else 1)
    yield (
        "\nMeans are over cases; a case's score is the mean of its samples'. Errors are outside "
        "the mean; the bounds are the mean if every error had been worst or best"
    )
    if not facts.is_whole:
        yield ", and so every case that is not scored yet"
    unbounded = any(summary.value_range is None for summary in summaries)
    yield ", and a metric without a declared range has none.\n" if unbounded else ".\n"
    methods = sorted({one.interval_method for one in summaries if one.interval_method})
    said = [_METHODS.get(name, name) for name in methods]
    if resampled := bootstrap_text(summaries):
        said.append(f"of values over the corpus {resampled}")
    if said:
        yield f"Intervals: {', '.join(said)}.\n"
    if told := corpus_text(summaries):
        yield f"\n{escape(told)}.\n"


_METHODS = {"wilson": "Wilson's score interval", "t": "Student's t over cases"}


def _run(run: RunFacts, *, several: bool) -> Iterator[str]:
    state, progress = run.state, run.state.progress
    yield f"\n## {escape(run.label if several else 'Run')}\n\n"
    stopped = [("stopped early", escape(state.reason))] if state.reason else []
    first, reused = progress.first_token_ms, progress.tokens_reused
    yield from _points(
        [
            ("run", f"`{run.run_id}`"),
            ("what", escape(run.title)),
            ("status", _status(run)),
            *stopped,
            ("cases", f"{progress.cases_finished} of {progress.n_cases} gone through"),
            ("with errors", str(progress.cases_with_errors)),
            ("attempts", attempts_text(state)),
            ("time", duration(run.seconds)),
            *([("answers", escape(run.endings))] if run.endings else []),
            *([("models", escape(run.reported))] if run.reported else []),
            ("tokens", _counts(progress.tokens)),
            *([("tokens reused", _counts(reused))] if reused else []),
            ("cost", escape(run.cost)),
            ("latency", times_text(progress.latency_ms)),
            *([("first token", times_text(first))] if first else []),
            ("steps", run.steps),
            ("generations", f"from {when(progress.oldest)} to {when(progress.newest)}"),
        ]
    )
    if progress.stages:
        yield "\n"
        rows = [
            (name, str(stage.done), str(stage.reused), str(stage.failed))
            for name, stage in progress.stages.items()
        ]
        yield from _table(("stage", "done", "of these reused", "failed"), rows, text_columns=1)
    errors = [(one.metric_id, one.failures) for one in run.summaries if one.failures]
    if errors:
        yield "\nScored by rule, for a failure of the model's:\n\n"
        yield from _points([(escape(name), _counts(counts)) for name, counts in errors])
    yield from _judges(run)
    if state.notes:
        yield "\n### Notes\n\n"
        yield from (f"- {escape(note)}\n" for note in state.notes)
    yield "\n### Provenance\n\n"
    yield from _points((escape(name), escape(said)) for name, said in run.origin)


def _judges(run: RunFacts) -> Iterator[str]:
    if rows := judge_rows(run):
        yield "\n### Judges\n\n"
        yield from _table(JUDGE_HEADINGS, rows, text_columns=2)
        yield "\n"
        yield from _points((escape(name), escape(told)) for name, told in judge_lines(run))
        yield f"\n{JUDGES_LEGEND}\n"


def _status(run: RunFacts) -> str:
    through = run.state.completed_through_stage
    return f"{run.state.status}, through {through}" if through else str(run.state.status)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{escape(name)} {count}" for name, count in counts.items()) or "none"


def _points(points: Iterable[tuple[str, str]]) -> Iterator[str]:
    return (f"- **{name}**: {value}\n" for name, value in points)


def _table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int
) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |\n"
    marks = [":--" if column < text_columns else "--:" for column in range(len(headings))]
    yield f"| {' | '.join(marks)} |\n"
    for row in rows:
        yield f"| {' | '.join(escape(cell) for cell in row)} |\n"
