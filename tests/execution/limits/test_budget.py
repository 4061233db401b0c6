"""Budgets: what a run may spend, over generators, judges, retries, crashes and attempts.

Covers: themis.execution.call_costs, themis.execution.failures, themis.execution.history,
themis.execution.limits.budget, themis.planning.prices
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.runs import dataset, events, experiment, runtime
from themis import InMemoryRunStore, use
from themis.core.base import RunId
from themis.core.config import RuntimeConfig
from themis.core.contexts import GenerateContext
from themis.core.errors import BudgetSpentError, DefinitionError, ProviderError
from themis.core.events import Event, EventKind
from themis.core.judging import JudgeResponse, RenderedJudgePrompt
from themis.core.models import Case, GenerationResult
from themis.core.results import RunStatus
from themis.execution.failures import WorkStoppedError
from themis.execution.history import SpendingHistory
from themis.execution.limits import budget as limits_of_runs
from themis.execution.limits.budget import Budget, Spent
from themis.planning.prices import GivenPrice
from themis.testing.scripted import ScriptedGenerator, ScriptedJudge

PROMPT, OUTPUT = 7, 3
"""Tokens that each call really uses; it may use 10 and 5."""


class Metered(ScriptedGenerator):
    """Counts tokens as an endpoint would: those of failed calls too."""

    max_output_tokens = 5

    def __init__(self, **more: Any) -> None:
        super().__init__(provider_key="e", **more)
        self.charged = 0

    def max_prompt_tokens(self, case: Case, ctx: GenerateContext) -> int:
        return 10

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        self.charged += PROMPT + OUTPUT
        result = await super().generate(case, ctx)
        usage = {"prompt_tokens": PROMPT, "completion_tokens": OUTPUT}
        return result.model_copy(update={"token_usage": usage})


class MeteredJudge(ScriptedJudge):
    max_output_tokens = 5

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.charged = 0

    def max_prompt_tokens(self, prompt: RenderedJudgePrompt) -> int:
        return 10

    async def judge(self, prompt: RenderedJudgePrompt, *, seed: int | None = None) -> JudgeResponse:
        self.charged += PROMPT + OUTPUT
        answer = await super().judge(prompt, seed=seed)
        usage = {"prompt_tokens": PROMPT, "completion_tokens": OUTPUT}
        return answer.model_copy(update={"token_usage": usage})


class Telling(Metered):
    """Tells of whatever tokens it is given."""

    def __init__(self, told: dict[str, int]) -> None:
        super().__init__()
        self.told = told

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        result = await super().generate(case, ctx)
        return result.model_copy(update={"token_usage": self.told})


@pytest.mark.parametrize(
    "told",
    [
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 0, "completion_tokens": 3},
        {"prompt_tokens": 7, "completion_tokens": 0},  # of an answer that says something
        {"prompt_tokens": 7, "completion_tokens": 6},  # more than was allowed
        {"prompt_tokens": 11, "completion_tokens": 5},  # more than the prompt can have
        {"prompt_tokens": 2**53, "completion_tokens": 3},
        {"prompt_tokens": -7, "completion_tokens": 3},
        {"completion_tokens": 3},
    ],
)
def test_tokens_that_no_call_can_have_used_count_as_reserved(told: dict[str, int]) -> None:
    trial = experiment(Telling(told), cases=30, max_concurrent_tasks=1)
    with pytest.raises(BudgetSpentError):
        trial.run(runtime=limited(100))
    assert trial.run(runtime=limited(30 * 15)).status is RunStatus.COMPLETED
    (finished,) = [
        one.data["spent"]["tokens"]
        for one in trial.store.events(trial.compile().run_id)
        if one.kind is EventKind.RUN_FINISHED and one.data["status"] == "completed"
    ]
    assert finished == 30 * 15 - 90  # six calls of 15 had room in the first budget


def limited(tokens: int, **more: Any) -> RuntimeConfig:
    return runtime(budget={"tokens": tokens}, **more)


@pytest.mark.parametrize("tokens", [14, 15, 40, 99, 250])
def test_a_run_never_spends_more_than_its_budget_and_a_larger_one_goes_on(tokens: int) -> None:
    generator = Metered()
    trial = experiment(generator, cases=30)
    with pytest.raises(BudgetSpentError, match=f"the budget of {tokens} tokens has no room"):
        trial.run(runtime=limited(tokens))
    assert generator.charged <= tokens
    assert tokens - generator.charged < 15  # what is left would not do for another call
    first = generator.charged
    with pytest.raises(BudgetSpentError):
        trial.run(runtime=limited(tokens))
    assert generator.charged == first
    result = trial.run(runtime=limited(3000))
    assert (result.status, generator.charged) == (RunStatus.COMPLETED, 300)


def test_a_run_stopped_by_its_budget_says_so_in_the_store() -> None:
    trial = experiment(Metered(), cases=30)
    with pytest.raises(BudgetSpentError) as caught:
        trial.run(runtime=limited(60))
    (finished,) = [
        one
        for one in trial.store.events(trial.compile().run_id)
        if one.kind is EventKind.RUN_FINISHED
    ]
    assert caught.value.run_id == trial.compile().run_id
    assert finished.data["status"] == "interrupted"
    assert finished.data["reason"].startswith("the budget of 60 tokens has no room")
    assert finished.data["spent"]["tokens"] == 50


def test_judge_calls_and_retries_are_within_the_budget() -> None:
    generator = Metered(
        failures={f"c{i}": [TimeoutError("lost on the way"), None] for i in range(0, 40, 3)}
    )
    judge = MeteredJudge()
    trial = experiment(
        generator, cases=40, metrics=[use("builtin/llm_rubric", rubric="Is it?")], judges=[judge]
    )
    for tokens in (50, 120, 333, 600):
        with pytest.raises(BudgetSpentError):
            trial.run(runtime=limited(tokens))
        assert generator.charged + judge.charged <= tokens
    result = trial.run(runtime=limited(5000))
    assert result.status is RunStatus.COMPLETED
    assert judge.count() == 40


def test_an_error_told_within_an_answer_that_had_begun_costs_all_that_was_reserved() -> None:
    told = ProviderError("too many", status=429, retryable=False, had_begun=True)
    waited = ProviderError("gateway", status=408, retryable=False)
    for failure in (told, waited):
        trial = experiment(Metered(failures={"c0": failure}), cases=1)
        result = trial.run(runtime=limited(100))
        (end,) = events(result, trial.store, EventKind.RUN_FINISHED)
        assert end.data["spent"]["tokens"] == 15


def test_a_refusal_costs_nothing_and_a_failure_in_the_midst_all_that_was_reserved() -> None:
    refused = Metered(failures={"c0": [ProviderError("slow down", status=429)]})
    broken = Metered(failures={"c0": [ProviderError("broke off", retryable=True)]})
    for generator, spent in ((refused, 10), (broken, 25)):
        trial = experiment(generator, cases=1)
        result = trial.run(runtime=limited(100))
        (end,) = events(result, trial.store, EventKind.RUN_FINISHED)
        assert end.data["spent"]["tokens"] == spent


def test_a_rerun_has_the_whole_budget_for_itself() -> None:
    generator = Metered()
    trial = experiment(generator, cases=5)
    trial.run(runtime=limited(60))
    trial.run(runtime=limited(60, existing_run_policy="rerun"))
    assert generator.charged == 100


def test_a_budget_of_dollars_needs_prices_and_is_kept() -> None:
    generator = Metered()
    trial = experiment(generator, cases=30)
    budget: dict[str, Any] = {"budget": {"dollars": 0.001}}
    with pytest.raises(
        DefinitionError, match=r"price of generator .* is unknown; give it under runtime"
    ):
        trial.run(runtime=runtime(**budget))
    assert generator.charged == 0
    prices = {"scripted/generator": {"input": 10.0, "output": 20.0}}
    with pytest.raises(BudgetSpentError, match=r"the budget of \$0.001 has no room"):
        trial.run(runtime=runtime(**budget, prices=prices))
    calls = generator.count()
    assert calls * (7 * 10 + 3 * 20) / 1e6 <= 0.001 < (calls * 130 + 200) / 1e6


def test_a_budget_of_seconds_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Metered(wait=lambda: asyncio.sleep(0.05))
    # A tenth of a second goes by with each call, however busy the machine is.
    clock = SimpleNamespace(monotonic=lambda: 0.1 * generator.count())
    monkeypatch.setattr(limits_of_runs, "time", clock)
    trial = experiment(generator, cases=2000, max_concurrent_tasks=2)
    with pytest.raises(BudgetSpentError, match=r"the budget of 0\.3 seconds is over"):
        trial.run(runtime=runtime(budget={"seconds": 0.3}, max_concurrent_tasks=2))
    assert 0 < generator.count() < 2000


@pytest.mark.parametrize(
    ("generator", "said"),
    [
        (ScriptedGenerator(), "has no cap on its output tokens"),
        (type("Capped", (ScriptedGenerator,), {"max_output_tokens": 5})(), "max_prompt_tokens"),
        (
            type("Uncapped", (ScriptedGenerator,), {"max_output_tokens": -1})(),
            "max_output_tokens is -1",
        ),
    ],
)
def test_a_call_without_bounds_is_refused_at_compile(generator: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        experiment(generator, cases=3, budget={"tokens": 100}).compile()
    assert generator.count() == 0


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"token": 5}, "did you mean 'tokens'"),
        ({"tokens": 0}, "must be above 0"),
        ({"tokens": 1.5}, "must be an integer"),
        ({"dollars": -1.0}, "must be above 0"),
        ({"seconds": float("nan")}, "must be a finite number"),
    ],
)
def test_a_budget_that_is_none_is_refused(budget: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        RuntimeConfig(budget=budget)


def test_prices_that_are_none_are_refused() -> None:
    for price, said in (
        ({"input": 1.0}, "has no 'output'"),
        ({"input": 1.0, "output": -2.0}, "must not be negative"),
        ({"input": 1.0, "output": 2.0, "cashed_input": 1.0}, "did you mean 'cached_input'"),
    ):
        with pytest.raises(DefinitionError, match=said):
            RuntimeConfig(prices={"m": price})


def test_a_judge_that_is_asked_no_more_costs_nothing_and_waits_for_nothing() -> None:
    generator = Metered()
    judge = MeteredJudge(failures=ProviderError("bad key", status=401, fatal=True))
    trial = experiment(
        generator, cases=40, metrics=[use("builtin/llm_rubric", rubric="Is it?")], judges=[judge]
    )
    result = trial.run(runtime=limited(415))
    assert generator.charged == 400
    assert judge.count() <= 32
    assert result.progress.cases_finished == 40


@pytest.mark.parametrize(
    "usage",
    [
        {"total_tokens": 10},
        {"completion_tokens": 3},
        {"prompt_tokens": 7},
        {"prompt_tokens": -7, "completion_tokens": 3},
        None,
    ],
)
def test_an_answer_that_does_not_say_all_it_used_is_charged_all_that_it_may_have(
    usage: dict[str, int] | None,
) -> None:
    class Vague(Metered):
        async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
            result = await super().generate(case, ctx)
            return result.model_copy(update={"token_usage": usage})

    generator = Vague()
    with pytest.raises(BudgetSpentError):
        experiment(generator, cases=30).run(runtime=limited(100))
    assert generator.count() == 6


def test_a_budget_is_drawn_in_few_portions_whatever_it_limits() -> None:
    prices = {"scripted/generator": {"input": 10.0, "output": 20.0}}
    for budget in ({"tokens": 20_000}, {"dollars": 0.3}, {"tokens": 20_000, "dollars": 0.3}):
        trial = experiment(Metered(), cases=1000, budget=budget, prices=prices)
        result = trial.run()
        assert 0 < len(events(result, trial.store, EventKind.BUDGET_DRAWN)) <= 70


def test_a_price_that_cannot_be_told_loses_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def cost(self: GivenPrice, usage: Mapping[str, int]) -> float:
        raise ValueError("no such count")

    monkeypatch.setattr(GivenPrice, "cost", cost)
    prices = {"scripted/generator": {"input": 10.0, "output": 20.0}}
    result = experiment(Metered(), cases=40, prices=prices, max_concurrent_tasks=4).run()
    assert result.status is RunStatus.COMPLETED
    assert result.progress.unpriced_calls == 40


def test_what_was_spent_before_there_was_a_budget_counts() -> None:
    generator = Metered(failures={f"c{i}": [TimeoutError("lost")] for i in range(20)})
    trial = experiment(generator, cases=20, generation_retry_attempts=1)
    trial.run()
    assert generator.charged == 200
    with pytest.raises(BudgetSpentError, match="300 are used"):
        trial.run(runtime=limited(310))  # twenty lost calls, each taken for its most


def test_calls_of_an_unknown_price_are_told_where_dollars_are_limited_later() -> None:
    prices = {"scripted/generator": {"input": 10.0, "output": 20.0}}
    settings = runtime(budget={"dollars": 1.0}, prices=prices)
    more = experiment(Metered(failures={"c0": TimeoutError("lost")}), cases=5)
    more.run()
    (note,) = more.run(runtime=settings).notes
    assert note.startswith("4 earlier calls of this run had no known price")


def test_a_rejudge_is_not_charged_to_the_run() -> None:
    judge = MeteredJudge()
    trial = experiment(
        Metered(), cases=3, metrics=[use("builtin/llm_rubric", rubric="Is it?")], judges=[judge]
    )
    trial.run(runtime=limited(100))
    for _ in range(3):
        trial.rejudge(runtime=limited(50))
    assert judge.charged == 120
    grown = experiment(
        Metered(), cases=3, metrics=[use("builtin/llm_rubric", rubric="Is it?")], judges=[judge]
    )
    assert grown.run(runtime=limited(100)).status is RunStatus.COMPLETED


def test_a_run_that_is_done_when_its_time_is_over_is_done() -> None:
    result = experiment(Metered(), cases=5).run(runtime=runtime(budget={"seconds": 60.0}))
    assert (result.status, result.reason) == (RunStatus.COMPLETED, None)


def test_small_amounts_of_money_are_told_as_amounts() -> None:
    prices = {"scripted/generator": {"input": 1.0, "output": 1.0}}
    settings = runtime(budget={"dollars": 0.00001}, prices=prices)
    with pytest.raises(BudgetSpentError) as caught:
        experiment(Metered(), cases=3).run(runtime=settings)
    assert "budget of $0.00001 has no room" in str(caught.value)
    assert "the call may cost $0.000015" in str(caught.value)


def test_cached_tokens_that_cost_more_are_reserved_at_their_price() -> None:
    prices = {"scripted/generator": {"input": 1.0, "output": 1.0, "cached_input": 100.0}}
    settings = runtime(budget={"dollars": 0.0005}, prices=prices)
    generator = Metered()
    with pytest.raises(BudgetSpentError, match=r"the call may cost \$0\.001005"):
        experiment(generator, cases=3).run(runtime=settings)
    assert generator.count() == 0


# ── reservations ──────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=60, deadline=None)
@given(
    allowed=st.integers(1, 200),
    before=st.integers(0, 50),
    calls=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), max_size=40),
)
def test_what_is_used_and_drawn_stays_within_whatever_calls_come(
    allowed: int, before: int, calls: Sequence[tuple[int, int]]
) -> None:
    drawn: list[int] = [0]
    used = 0
    stops: list[str] = []

    async def draw(spent: Spent) -> None:
        drawn.append(spent.tokens)
        await asyncio.sleep(0)

    async def call(budget: Budget, most: int, real: int) -> None:
        nonlocal used
        try:
            reserved = await budget.reserve(Spent(tokens=most))
        except WorkStoppedError:
            return
        assert used + min(real, most) <= drawn[-1]  # what is begun was journaled before
        await asyncio.sleep(0)
        used += min(real, most)
        budget.settle(reserved, Spent(tokens=min(real, most)))

    async def run() -> None:
        budget = Budget(
            {"tokens": allowed}, before=Spent(tokens=before), draw=draw, stop=stops.append
        )
        await asyncio.wait_for(
            asyncio.gather(*(call(budget, most, real) for most, real in calls)), 10
        )
        assert budget.spent.tokens == used

    asyncio.run(run())
    assert before + used <= max(allowed, before)
    assert drawn == sorted(drawn)
    assert all(before + one <= allowed for one in drawn[1:])
    if not stops:
        assert used == sum(min(most, real) for most, real in calls)


def test_a_killed_process_is_billed_what_it_had_drawn() -> None:
    def event(kind: EventKind, seq: int, attempt: int = 1, **data: Any) -> Event:
        return Event(kind=kind, attempt=attempt, at=float(seq), seq=seq, data=data)

    ended = {"tokens": 7, "dollars": 0.1, "seconds": 3.0, "unpriced": 2}
    spending = SpendingHistory()
    for one in (
        event(EventKind.RUN_STARTED, 1, mode="run"),
        event(EventKind.BUDGET_DRAWN, 2, tokens=40, dollars=0.0, seconds=0.0),
        event(EventKind.BUDGET_DRAWN, 5, tokens=80, dollars=0.5, seconds=9.0),
        event(EventKind.RUN_STARTED, 9, mode="run"),
        event(EventKind.RUN_FINISHED, 12, spent=ended),
        event(EventKind.RUN_STARTED, 13, 2, mode="rejudge"),
        event(EventKind.RUN_FINISHED, 14, 2, spent={"tokens": 5}),
    ):
        spending.add(one)
    store, run_id = InMemoryRunStore(), RunId("not asked about")
    assert spending.total(store, run_id) == Spent(tokens=87, dollars=0.6, seconds=12.0, unpriced=2)
    assert spending.total(store, run_id, attempt=2) == Spent(tokens=5)


def test_a_process_killed_without_a_budget_is_billed_for_its_answers() -> None:
    generator = Metered()
    trial = experiment(generator, cases=dataset(4))
    result = trial.run()
    killed = SpendingHistory()
    for one in trial.store.events(result.run_id):
        if one.kind is not EventKind.RUN_FINISHED:  # it never came to that
            killed.add(one)
    assert killed.total(trial.store, result.run_id).tokens == 40
