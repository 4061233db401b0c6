"""What a run's generations would use and cost, added up before any of them is made."""

from __future__ import annotations

from collections.abc import Mapping

from themis.core.results import RunEstimate
from themis.core.run_plan import RunPlan
from themis.planning.compiled_run import BoundComponent, CompiledRun
from themis.planning.prices import call_cost, find_price

Prices = Mapping[str, Mapping[str, float]]


class Spending:
    """Adds up, call by call, what generations would use: prices may rise with the size of a call.

    Args:
        generator: what is asked.
        prices: the user's own prices, as in ``RuntimeConfig.prices``.
    """

    def __init__(self, generator: BoundComponent, prices: Prices) -> None:
        self._cap = generator.capabilities.max_output_tokens
        self._calls = 0
        self._counts = generator.capabilities.estimate_tokens is not None
        self._tokens = 0
        self._price = find_price(generator, prices)
        self._costs: list[float] | None = None
        if self._price is not None and self._counts:
            self._costs = [0.0] if self._cap is None else [0.0, 0.0]

    def add(self, prompt: int | None) -> None:
        """Add one generation.

        Args:
            prompt: how many prompt tokens it is expected to use; None where nobody can say.
        """
        self._calls += 1
        if prompt is None:
            return
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
    if run.pipeline.all_judged:
        notes = [
            "steps under 'judge' are judged metrics; each asks at least one judge call",
            "judge calls are not among the tokens: they ask about answers that are not there yet",
        ]
    cases = run.snapshot.n_cases
    return RunEstimate(
        run_id=run.run_id,
        n_cases=cases,
        steps={
            stage.value: cases * count for stage, count in run.pipeline.steps_per_case().items()
        },
        to_run={"generate": plan.stages["generate"].to_run},
        prompt_tokens=plan.prompt_tokens,
        output_tokens_at_most=plan.output_tokens_at_most,
        cost_usd=plan.cost_usd,
        notes=[*notes, *plan.notes],
    )
