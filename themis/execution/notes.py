"""What the user should know of a run, beside its results: noted as it begins and as it ends."""

from __future__ import annotations

from collections.abc import Iterator

from themis.core.errors import did_you_mean
from themis.execution.session import RunSession
from themis.planning.prices import price_names


def notes_at_start(session: RunSession) -> Iterator[str]:
    """Yield what is known before any work: whose outputs these are, and what has no effect."""
    for bound in session.run.bounds():
        if bound.capabilities.made_elsewhere is not None:
            yield bound.capabilities.made_elsewhere
    yield from _unused_settings(session)
    count = session.budget.before.unpriced
    if count and "dollars" in (session.runtime.budget or {}):
        yield (
            f"{count} earlier call{'s' if count > 1 else ''} of this run had no known price "
            "when made, and are not in its budget of dollars"
        )


def notes_at_end(session: RunSession) -> Iterator[str]:
    """Yield which zeros say nothing of the model, what was undecided, and who gave no answer."""
    for (metric, why), (count, example) in sorted(session.unequal.items()):
        yield (
            f"metric '{metric}' gave {count} answer{'s' if count > 1 else ''} 0 that it could give "
            f"nothing else: {why} ({example})"
        )
    for part, count in sorted(session.undecided.items()):
        yield (
            f"'{part}' came to no verdict on {count} answer{'s' if count > 1 else ''} within its "
            "limits, and to one on plain answers: they count as the model's, as what cannot be read"
        )
    for judge, count in sorted(session.silent.items()):
        yield (
            f"judge '{judge}' gave no answer to {count} call{'s' if count > 1 else ''}: "
            "without it a metric has fewer judgments (themis rejudge asks again) or, where it "
            "needs them all, is an error (the next run asks again)"
        )
    if count := session.made_twice:
        yield (
            f"{count} call{'s' if count > 1 else ''} asked for what another run at work at the "
            "same time asked for too and kept first: its answers stand, and both were paid. Runs "
            "that share answers ask once where one of them ends before the others begin"
        )
    if count := session.threads.abandoned:
        yield (
            f"{count} call{'s' if count > 1 else ''} in threads had not returned when "
            "given up on; each holds its thread until it returns"
        )


def _unused_settings(session: RunSession) -> Iterator[str]:
    """Yield the settings for endpoints and models that no component of the run asks."""
    asking = [session.run.generator, *session.run.judges.values()]
    endpoints = {key for one in asking if (key := one.capabilities.provider_key) is not None}
    models = {name for one in asking for name in price_names(one)}
    for setting, known in (
        ("provider_concurrency", endpoints),
        ("provider_rate_limits", endpoints),
        ("prices", models),
    ):
        for name in getattr(session.runtime, setting):
            if name not in known:
                yield (
                    f"{setting} names '{name}', which nothing in this run asks, so that it has "
                    f"no effect{did_you_mean(name, known) if known else ''}"
                )
