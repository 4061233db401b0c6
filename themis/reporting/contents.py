"""The sections of a report: scores first, then each run with its work, judges, notes and origin.

All words of a report are chosen here, once for every format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from themis.analysis.group_tables import group_table
from themis.analysis.tables import (
    NONE,
    attempts_text,
    bootstrap_text,
    corpus_text,
    endings_text,
    headings,
    headline_rows,
    milliseconds,
    moment,
    renewed_text,
    reported_text,
    times_text,
    usage_text,
)
from themis.core.redaction import redact
from themis.core.results import MetricSummary
from themis.core.snapshot import ComponentRef
from themis.reporting.facts import ReportFacts, RunFacts
from themis.reporting.judge_section import judge_section
from themis.reporting.plot import panels
from themis.reporting.sections import (
    Block,
    Bullets,
    CaseList,
    Paragraph,
    Plot,
    Points,
    Section,
    Status,
    Table,
)

_GROUPS_LEGEND = (
    "The line of all cases counts a group by its cases; the mean over groups counts each alike, "
    "and is missing where a group has no value."
)
_METHODS = {
    "wilson": "Wilson's score interval where every case scores 0 or 1",
    "t": "Student's t over cases",
}


def contents(facts: ReportFacts) -> Iterator[Section]:
    """Yield the sections in order: the headline, runs side by side, then one section a run."""
    yield Section(title="Scores", blocks=_headline(facts), is_headline=True)
    for run in facts.runs:
        if run.groups:
            yield _by_group(run, "" if facts.is_one_run else run.label)
    if not facts.is_one_run:
        yield Section(title="Work", blocks=[_work(facts)])
    for run in facts.runs:
        yield _run(run, title="Run" if facts.is_one_run else run.label)


def _headline(facts: ReportFacts) -> list[Block]:
    several = not facts.is_one_run
    blocks: list[Block] = [_status(run, run.label if several else "") for run in facts.runs]
    summaries = [summary for run in facts.runs for summary in run.summaries]
    if summaries:
        rows = [
            (*((run.label,) if several else ()), *row)
            for run in facts.runs
            for summary in run.summaries
            for row in headline_rows(summary)
        ]
        head = (*(("run",) if several else ()), *headings(summaries))
        blocks.append(Table(headings=head, rows=rows, text_columns=2 if several else 1))
        blocks.append(Paragraph(_legend(summaries, is_whole=facts.is_whole)))
        if corpus := corpus_text(summaries):
            blocks.append(Paragraph(f"{corpus}."))
    else:
        blocks.append(Paragraph("No metrics."))
    for run in facts.runs:
        of = f" of {run.label}" if several else ""
        if endings := endings_text(run.summaries):
            blocks.append(Paragraph(f"Answers{of}: {endings}."))
        if reported := reported_text(run.state.progress):
            blocks.append(Paragraph(f"Models{of}: {reported}."))
    if drawn := panels(facts):
        blocks.append(Plot(drawn))
    return blocks


def _by_group(run: RunFacts, label: str) -> Section:
    table = group_table(run.groups, run.summaries)
    of = f"{label}: scores" if label else "Scores"
    return Section(
        title=f"{of} by {', '.join(run.by)}",
        blocks=[
            Table(headings=table.headings, rows=table.rows, text_columns=table.text_columns),
            Paragraph(_GROUPS_LEGEND),
        ],
        is_headline=True,
    )


def _status(run: RunFacts, label: str) -> Status:
    state = run.state
    remarks = [f"through {state.completed_through_stage}"] if state.completed_through_stage else []
    if state.reason:
        remarks.append(f"stopped early: {state.reason}")
    return Status(label=label, run=run.name, status=state.status.value, remarks=remarks)


def _legend(summaries: Sequence[MetricSummary], *, is_whole: bool) -> str:
    missing = "" if is_whole else " and every case not scored yet"
    unbounded = any(summary.value_range is None for summary in summaries)
    no_range = ", and a metric without a declared range has none" if unbounded else ""
    used = sorted({one.interval_method for one in summaries if one.interval_method}, reverse=True)
    methods = [_METHODS.get(name, name) for name in used]
    if resampled := bootstrap_text(summaries):
        methods.append(f"of values over the corpus {resampled}")
    intervals = f" Intervals: {', '.join(methods)}." if methods else ""
    return (
        "Means are over cases; a case's score is the mean of its samples'. Errors are outside the "
        f"mean; the bounds are the mean if every error{missing} had been worst or best{no_range}."
        f"{intervals}"
    )


def _work(facts: ReportFacts) -> Table:
    rows = []
    for run in facts.runs:
        progress = run.state.progress
        latency = progress.latency_ms
        cells = [run.label, run.state.status.value, usage_text(progress), run.cost]
        rows.append([*cells, *(milliseconds(latency.get(name)) for name in ("p50", "p90"))])
    return Table(
        headings=("run", "status", "tokens", "cost", "p50", "p90"), rows=rows, text_columns=4
    )


def _run(run: RunFacts, *, title: str) -> Section:
    return Section(
        title=title,
        blocks=[Points(_points(run), short=True)],
        parts=[
            _stages(run),
            _attempts(run),
            _failures(run),
            judge_section(run),
            Section(title="Notes", blocks=[Bullets(run.state.notes)] if run.state.notes else []),
            Section(title="Cases", blocks=[CaseList(run)]),
            _origin(run),
        ],
        values={
            "run_id": run.run_id,
            "label": run.label,
            "title": run.title,
            "state": redact(run.state.model_dump(mode="json", exclude={"run_id"})),
            "metrics": [summary.model_dump(mode="json") for summary in run.summaries],
            **({"groups": [one.model_dump(mode="json") for one in run.groups]} if run.by else {}),
            "seconds": run.seconds,
            "cost": run.cost,
            "steps_done": run.state.progress.steps_done,
            "steps_reused": run.state.progress.steps_reused,
        },
    )


def _points(run: RunFacts) -> list[tuple[str, str]]:
    progress = run.state.progress
    first, reused = progress.first_token_ms, progress.tokens_reused
    none = "none spent" if reused else "none counted"
    renewed = f"{progress.steps_reused} reused{renewed_text(progress)}"
    return [
        ("what", run.title),
        ("cases", f"{progress.cases_finished} of {progress.n_cases} gone through"),
        ("cases with errors", str(progress.cases_with_errors)),
        ("steps", f"{progress.steps_done}, of which {renewed}"),
        ("attempts", attempts_text(run.state)),
        ("time", _duration(run.seconds)),
        *(_tokens(progress.tokens) or [("tokens", none)]),
        *((f"{name} reused", count) for name, count in _tokens(reused)),
        ("cost", run.cost),
        ("latency", times_text(progress.latency_ms)),
        *([("first token", times_text(first))] if first else []),
        ("oldest generation", _when(progress.oldest)),
        ("newest generation", _when(progress.newest)),
    ]


def _tokens(counts: dict[str, int]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), f"{count:,}") for name, count in counts.items()]


def _stages(run: RunFacts) -> Section:
    rows = [
        (name, str(stage.done), str(stage.reused), str(stage.failed))
        for name, stage in run.state.progress.stages.items()
    ]
    head = ("stage", "done", "of these reused", "failed")
    table = Table(headings=head, rows=rows, text_columns=1)
    return Section(title="Stages", blocks=[table] if rows else [])


def _attempts(run: RunFacts) -> Section:
    rows = []
    for attempt in run.timeline:
        for stage in attempt.stages:
            counts = (stage.made, stage.reused, stage.failed, stage.retried)
            times = (stage.p50_ms, stage.p90_ms, stage.p99_ms, stage.max_ms)
            told = [NONE if ms is None else f"{ms:.1f}" for ms in times]
            rows.append([str(attempt.attempt), stage.stage, *map(str, counts), *told])
    head = ("attempt", "stage", "made", "reused", "failed", "retried")
    table = Table(
        headings=(*head, "p50 ms", "p90 ms", "p99 ms", "max ms"), rows=rows, text_columns=2
    )
    return Section(
        title="Attempts",
        blocks=[table] if rows else [],
        values={"timeline": [attempt.model_dump(mode="json") for attempt in run.timeline]},
    )


def _failures(run: RunFacts) -> Section:
    rows = [
        (one.metric_id, ", ".join(f"{name} {count}" for name, count in one.failures.items()))
        for one in run.summaries
        if one.failures
    ]
    return Section(
        title="Scored by rule, for a failure of the model's", blocks=[Points(rows)] if rows else []
    )


def _origin(run: RunFacts) -> Section:
    identity = run.snapshot.identity
    datasets = [
        ", ".join(
            [
                dataset.dataset_id,
                f"{dataset.n_cases} cases",
                *([f"revision {dataset.revision}"] if dataset.revision else []),
                f"fingerprint {dataset.fingerprint}",
            ]
        )
        for dataset in identity.datasets
    ]
    points = [
        *(("dataset", text) for text in datasets),
        *((part.role, _component(part)) for part in identity.components()),
        ("samples a case", str(identity.num_samples)),
        *((name, _said(name, value)) for name, value in run.provenance.items()),
    ]
    return Section(
        title="What was asked, and where it ran",
        blocks=[Points(points)],
        values={"identity": redact(identity.asked()), "provenance": run.provenance},
        is_folded=True,
    )


def _component(part: ComponentRef) -> str:
    name = part.name if part.component_id == part.name else f"{part.name} ({part.component_id})"
    parser = f", reads from {part.parser}" if part.parser else ""
    params = f", {redact(part.params)}" if part.params else ""
    return f"{name}, version {part.version}{parser}{params}"


def _said(name: str, value: Any) -> str:
    if name == "at":
        return _when(value)
    if isinstance(value, dict):
        parts = [f"{key} {item}" for key, item in value.items() if item is not None]
        return ", ".join(parts) or "none"
    return str(value)


def _when(at: float | None) -> str:
    return "never" if at is None else moment(at)


def _duration(seconds: float) -> str:
    """Return seconds as a person would say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
