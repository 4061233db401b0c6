"""The headline table as plain text, and the format of numbers in all reports.

A mean is always shown with the number of scores and of errors, and with its bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from themis.core.results import ExecutionState, MetricSummary, ReportedModel, RunProgress

NO_RANGE = "no range"
NO_BOUNDS = "none"
NONE = "-"
HEADINGS = ("metric", "mean", "95% interval", "scored", "errors", "unparsed", "bounds")
_TEXT_COLUMNS = 2
_REPORTED = 3


class HeadlineRow(NamedTuple):
    """A metric's figures, as text."""

    metric: str
    mean: str
    interval: str
    scored: str
    errors: str
    unparsed: str
    bounds: str


def headline_row(summary: MetricSummary) -> HeadlineRow:
    """Return a metric's figures as text for tables.

    The bounds are the mean if every error and every case not reached had the least value of the
    range, and if it had the greatest. If cases are missing, scored cases are shown as "n of all".
    """
    name = summary.metric_id
    if summary.unit:
        name = f"{name} ({summary.unit})"
    if not summary.higher_is_better:
        name = f"{name} ↓"
    return HeadlineRow(
        metric=name,
        mean=number(summary.mean),
        interval=span(summary.interval),
        scored=_scored(summary),
        errors=_counted(summary.n_errors, summary.errors),
        unparsed=str(summary.n_unparsed),
        bounds=NO_RANGE if summary.value_range is None else span(summary.bounds),
    )


def headings(summaries: Iterable[MetricSummary]) -> tuple[str, ...]:
    """Return the table's headings: "mean", or "value" if a metric has a corpus-level value."""
    if any(summary.corpus is not None for summary in summaries):
        return tuple("value" if name == "mean" else name for name in HEADINGS)
    return HEADINGS


def headline_rows(summary: MetricSummary) -> list[HeadlineRow]:
    """Return a metric's lines in tables: the mean, after the corpus-level value if there is one.

    A corpus-level value has no bounds: the effect of errors on it is unknown.
    """
    row = headline_row(summary)
    corpus = summary.corpus
    if corpus is None:
        return [row]
    told = f"{corpus.n_cases} cases"
    if summary.n_missing:
        told = f"{corpus.n_cases} of {summary.n_cases} cases"
    if corpus.n_rows != corpus.n_cases:
        told = f"{corpus.n_rows} in {told}"
    whole = row._replace(
        metric=f"{row.metric}, corpus",
        mean=number(corpus.value),
        interval=span(corpus.interval),
        scored=told if " " in row.scored or corpus.n_rows != corpus.n_cases else str(corpus.n_rows),
        bounds=NO_BOUNDS,
    )
    return [whole, row._replace(metric=f"{row.metric}, mean of cases")]


def corpus_text(summaries: Sequence[MetricSummary]) -> str:
    """Return notes on corpus-level values: rows without statistics, and why a value is missing."""
    told = []
    for summary in summaries:
        corpus = summary.corpus
        if corpus is None:
            continue
        if corpus.failure is not None:
            told.append(f"{summary.metric_id} has no corpus value: {corpus.failure}")
        elif corpus.n_without:
            rows = "1 row" if corpus.n_without == 1 else f"{corpus.n_without:,} rows"
            told.append(f"{summary.metric_id}, corpus: {rows} without statistics are not in it")
        if corpus.value is not None and corpus.signature is not None:
            told.append(f"signature of the corpus value of {summary.metric_id}: {corpus.signature}")
        if corpus.interval_failure is not None:
            told.append(
                f"{summary.metric_id}, corpus: no interval, since a resample of the cases has no "
                f"value: {corpus.interval_failure}"
            )
    return "; ".join(told)


def bootstrap_text(summaries: Sequence[MetricSummary]) -> str:
    """Return how intervals of corpus-level values were computed; "" without any."""
    found = {
        (one.corpus.resamples, one.corpus.seed)
        for one in summaries
        if one.corpus is not None and one.corpus.interval is not None
    }
    return " and ".join(
        f"percentile bootstrap over cases ({resamples:,} resamples, seed {seed})"
        for resamples, seed in sorted(found)
    )


def number(value: float | None) -> str:
    """Return a figure with three decimals, or with four digits where it is large or tiny."""
    if value is None:
        return NONE
    if value != 0.0 and not 0.001 <= abs(value) < 1e6:
        return f"{value:.3e}"
    return f"{value:.3f}"


def span(ends: Sequence[float] | None) -> str:
    """Return an interval as text."""
    if ends is None:
        return NONE
    low, high = ends
    return f"{number(low)} to {number(high)}"


def dollars(value: float) -> str:
    """Return US dollars as text: to the cent from one dollar on, small amounts more exactly."""
    if not value or value >= 1.0:
        return f"${value:,.2f}"
    if value >= 0.0001:
        return f"${value:.4f}"
    return f"${value:.6f}" if value >= 1e-6 else f"${value:.1e}"


def cost_text(cost_usd: float | None, unpriced_calls: int) -> str:
    """Return a cost as text, with the number of calls whose price is unknown."""
    if not unpriced_calls:
        return dollars(cost_usd or 0.0)
    if not cost_usd:
        return "unknown price"
    calls = "1 call" if unpriced_calls == 1 else f"{unpriced_calls:,} calls"
    return f"{dollars(cost_usd)} + {calls} at an unknown price"


def tokens_text(tokens: Mapping[str, int]) -> str:
    """Return tokens by kind; prompt and completion tokens together come first."""
    total = sum(tokens.get(name, 0) for name in ("prompt_tokens", "completion_tokens"))
    kinds = ", ".join(
        f"{count:,} {name.removesuffix('_tokens').replace('_', ' ')}"
        for name, count in tokens.items()
    )
    return f"{total:,} ({kinds})" if kinds else "none"


def usage_text(progress: RunProgress) -> str:
    """Return the tokens of a run's work and those of its reused answers, as text."""
    spent = tokens_text(progress.tokens)
    if not progress.tokens_reused:
        return spent
    return f"{spent} spent, {tokens_text(progress.tokens_reused)} reused"


def work_text(progress: RunProgress) -> str:
    """Return tokens and cost of a run's work in one line; "" if there are none."""
    if not progress.tokens and not progress.cost_usd and not progress.tokens_reused:
        return ""
    return f"tokens: {usage_text(progress)}, cost: {run_cost(progress)}"


def reuse_text(progress: RunProgress) -> str:
    """Return how many steps were reused and when answers were made; "" before the first one."""
    if progress.oldest is None or progress.newest is None:
        return ""
    reused = f"{progress.steps_reused:,} of {progress.steps_done:,}"
    text = f"steps reused: {reused}, generations made: {moment(progress.oldest)}"
    if moment(progress.newest) != moment(progress.oldest):
        text += f" to {moment(progress.newest)}"
    return f"{text}{renewed_text(progress)}"


def renewed_text(progress: RunProgress) -> str:
    """Return how many results were too old to be reused, with a leading comma; "" for none."""
    if not progress.renewed:
        return ""
    return f", made again since too old: {progress.renewed:,}"


def moment(at: float) -> str:
    """Return Unix seconds as a date and time in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def run_cost(progress: RunProgress) -> str:
    """Return the cost of a run's work as text; "none" if nothing was paid."""
    if not progress.tokens and not progress.cost_usd:
        return "none"
    return cost_text(progress.cost_usd, progress.unpriced_calls)


def attempts_text(state: ExecutionState) -> str:
    """Return the number of attempts; for an earlier one, its number and the later attempts."""
    if not state.later_attempts:
        return str(len(state.attempts))
    later = ", ".join(map(str, state.later_attempts))
    return f"as of attempt {state.attempt}; there are later ones: {later}"


def times_text(figures: Mapping[str, float]) -> str:
    """Return percentiles of milliseconds as text; "none" without any."""
    return ", ".join(f"{name} {milliseconds(value)}" for name, value in figures.items()) or "none"


def milliseconds(value: float | None) -> str:
    """Return milliseconds as text, with as many digits as a percentile is exact to."""
    if value is None:
        return NONE
    return f"{value:,.0f} ms" if value >= 100.0 else f"{value:.3g} ms"


def endings_text(summaries: Sequence[MetricSummary]) -> str:
    """Return how many answers were refused, truncated or empty; "" if none was.

    The counts are given once if they are the same for all metrics, else by metric.
    """
    told = [(summary.metric_id, _endings(summary)) for summary in summaries]
    if len({text for _, text in told}) == 1:
        return told[0][1]
    return "; ".join(f"{name}: {text}" for name, text in told if text)


def reported_text(progress: RunProgress) -> str:
    """Return how many answers came from another model than most; "" if none did."""
    told = []
    for judge in sorted({one.judge or "" for one in progress.reported}):
        accounts = [one for one in progress.reported if (one.judge or "") == judge]
        others = [one for one in accounts if one.deviates]
        if not others:
            continue
        count, total = (sum(one.answers for one in found) for found in (others, accounts))
        names = ", ".join(_reported(one) for one in others[:_REPORTED])
        more = f" and {len(others) - _REPORTED} more" if len(others) > _REPORTED else ""
        rest = ", ".join(_reported(one) for one in accounts if not one.deviates)
        told.append(
            f"{count:,} of {total:,} answers{f' of judge {judge}' if judge else ''} came from "
            f"another model or system than the rest: {names}{more}; the rest: {rest or 'mixed'}"
        )
    return ". ".join(told)


def _reported(one: ReportedModel) -> str:
    said = [text for text in (one.model, one.system_fingerprint) if text is not None]
    return f"{' / '.join(said)} ({one.answers:,})"


def plain_table(summaries: Sequence[MetricSummary], labels: Sequence[str] | None = None) -> str:
    """Return the headline table as aligned plain text.

    Args:
        summaries: one for each line.
        labels: for summaries of several runs, the run's label of each.
    """
    if not summaries:
        return "no metrics"
    head = headings(summaries)
    rows = [headline_rows(summary) for summary in summaries]
    lines: list[tuple[str, ...]] = [row for found in rows for row in found]
    text_columns = 1
    if labels is not None:
        head = ("run", *head)
        lines = [(label, *row) for label, found in zip(labels, rows, strict=True) for row in found]
        text_columns = _TEXT_COLUMNS
    return aligned(head, lines, text_columns)


def aligned(head: Sequence[str], lines: Sequence[Sequence[str]], text_columns: int) -> str:
    """Return a table as plain text: the leading columns to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    return "\n".join(_aligned(line, widths, text_columns) for line in (head, *lines))


def _aligned(line: Sequence[str], widths: Sequence[int], text_columns: int) -> str:
    cells = [
        cell.ljust(width) if column < text_columns else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _scored(summary: MetricSummary) -> str:
    cases = f"{summary.n_cases_scored} cases"
    if summary.n_missing:
        cases = f"{summary.n_cases_scored} of {summary.n_cases} cases"
    if summary.n_scored != summary.n_cases_scored:
        return f"{summary.n_scored} in {cases}"
    return cases if summary.n_missing else str(summary.n_scored)


def _endings(summary: MetricSummary) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in summary.endings.items())


def _counted(count: int, by_category: dict[str, int]) -> str:
    if not count:
        return "0"
    parts = ", ".join(f"{name} {number}" for name, number in by_category.items())
    return f"{count} ({parts})" if parts else str(count)
