"""What a run's generations would use and cost, added up before any of them is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from themis.core.plans import RunPlan
from themis.core.results import RunEstimate
from themis.planning.expected import steps_per_case
from themis.planning.prices import call_cost, find_price
from themis.planning.work import Bound, CompiledRun

Prices = Mapping[str, Mapping[str, float]]


class Spending:
    """Adds up, call by call, what generations would use: prices may rise with the size of a call.

    Args:
        generator: what is asked.
        prices: the user's own prices, as in ``RuntimeConfig.prices``.
        not_before: Unix seconds before which nothing that is reused was made; None for no bound.
    """

    def __init__(self, generator: Bound, prices: Prices) -> None:
        component = generator.component
        self._cap: int | None = getattr(component, "max_output_tokens", None)
        self._calls = 0
        self._counts = hasattr(component, "estimate_tokens")
        self._tokens = 0
        self._price = find_price(component, prices)
        self._costs: list[float] | None = None
        if self._price is not None and self._counts:
            self._costs = [0.0] if self._cap is None else [0.0, 0.0]

    def add(self, count: Callable[[], int] | None) -> None:
        """Add one generation.

        Args:
            count: says how many prompt tokens it is expected to use, where its generator can.
        """
        self._calls += 1
        if count is None:
            return
        prompt = count()
        self._tokens += prompt
        if self._costs is None:
            return
        ends = [0] if self._cap is None else [0, self._cap]
        added = [
            call_cost(self._price, {"prompt_tokens": prompt, "completion_tokens": end})
            for end in ends
        ]
        known = [cost for cost in added if cost is not None]
        whole = len(known) == len(added)
        self._costs = (
            [cost + more for cost, more in zip(self._costs, known, strict=True)] if whole else None
        )

    @property
    def prompt_tokens(self) -> int | None:
        """Of all that was added, about; None where the generator cannot say."""
        return self._tokens if self._counts else None

    @property
    def output_tokens_at_most(self) -> int | None:
        """Of all that was added, each at its cap; None without one."""
        return None if self._cap is None else self._calls * self._cap

    @property
    def cost_usd(self) -> list[float] | None:
        """US dollars with no output at all and, where there is a cap, with each at it."""
        return self._costs

    def notes(self) -> list[str]:
        """Return what the figures mean, and why one is not there."""
        if not self._counts:
            return ["the generator does not estimate tokens"]
        notes = ["prompt tokens are those of the rendered prompts, at about 4 characters a token"]
        if self._cap is None:
            notes.append("the generator's output has no cap, so that its cost has no upper end")
        if self._costs is None:
            notes.append(
                "unknown price: give it under runtime, prices={model: {input: ..., output: ...}}, "
                "in dollars for a million tokens"
            )
        return notes


def estimate_of(run: CompiledRun, plan: RunPlan) -> RunEstimate:
    """Return the steps that a run has, and of its generations those that a plan says will be made.

    Args:
        run: the run.
        plan: of its generations at least.
    """
    notes = []
    if any(metric.facts.judged for metric in run.metrics):
        notes = [
            "steps under 'judge' are judged metrics; each asks at least one judge call",
            "judge calls are not among the tokens: they ask about answers that are not there yet",
        ]
    cases = run.snapshot.n_cases
    return RunEstimate(
        run_id=run.run_id,
        n_cases=cases,
        steps={stage.value: cases * count for stage, count in steps_per_case(run).items()},
        to_run={"generate": plan.stages["generate"].to_run},
        prompt_tokens=plan.prompt_tokens,
        output_tokens_at_most=plan.output_tokens_at_most,
        cost_usd=plan.cost_usd,
        notes=[*notes, *plan.notes],
    )
