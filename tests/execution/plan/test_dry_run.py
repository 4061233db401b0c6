"""For any small change of an experiment, the plan's figures are those of the run that follows.

Covers: themis.core.run_plan, themis.execution.plan.dry_run
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.execution.test_resuming import ATTEMPT, UNTIL, Script, _attempt, passing_time
from tests.execution.test_resuming import SHAPES as SCRIPTS
from tests.support.foretold import foretold, happened, last_seq, planned_run
from tests.support.runs import UnreliableStore, experiment
from themis import InMemoryRunStore, PromptSpec, use
from themis.core.contexts import ReduceContext
from themis.core.models import Case, Dataset, GenerationResult, ReducedCandidate
from themis.testing.scripted import (
    CountingMetric,
    CountingParser,
    ScriptedGenerator,
    ScriptedJudge,
)

SHAPES = st.fixed_dictionaries(
    {
        "cases": st.lists(st.integers(0, 7), min_size=1, max_size=6, unique=True),
        "gold": st.integers(0, 2),
        "asked": st.integers(0, 1),
        "noted": st.integers(0, 1),
        "samples": st.integers(1, 3),
        "model": st.sampled_from(["one", "other"]),
        "prefix": st.sampled_from([None, "Q:", "Hm."]),
        "parser": st.sampled_from([None, "first", "second"]),
        "metrics": st.lists(st.sampled_from("ab"), max_size=2, unique=True),
        "rubrics": st.lists(st.sampled_from(["Right?", "Short?"]), max_size=2, unique=True),
        "judge": st.sampled_from(["lenient", "strict"]),
        "reduced": st.booleans(),
        "strict": st.integers(0, 1),
        "until": st.sampled_from(["generate", "parse", "score", "judge"]),
        "policy": st.sampled_from(["auto", "auto", "auto", "rerun"]),
    }
)


def case(number: int, shape: dict[str, Any]) -> Case:
    """Return a case; of every second one the gold answer, input and note are as the shape says."""
    mine = number % 2 == 0
    return Case(
        case_id=f"c{number}",
        input=f"{number}.{shape['asked'] if mine else 0}",
        expected_output=f"{number}.{shape['gold'] if mine else 0}",
        metadata={"note": shape["noted"]} if mine else {},
    )


class Joining:
    """Joins what the samples say, so that no reduction is like a sample."""

    component_id = "joining"
    version = "1"
    reads = ("input",)

    def fingerprint(self) -> str:
        return "joined"

    def reduce(
        self, candidates: Sequence[GenerationResult], ctx: ReduceContext
    ) -> ReducedCandidate:
        return ReducedCandidate(
            candidate_id="joined",
            source_candidate_ids=list(ctx.candidate_ids),
            final_output=" + ".join(["joined", *(str(one.final_output) for one in candidates)]),
        )


def built(shape: dict[str, Any]) -> Any:
    """Return an experiment of scripted parts, each sample's answer being its own."""
    prefix = shape["prefix"]
    model = shape["model"]

    def answer(one: Case, ctx: Any) -> str:
        return f"{model} {prefix} {one.input} {ctx.sample_index}"

    def read(output: Any) -> str:
        return f"{shape['parser']} {output}"

    rubrics = [use("builtin/llm_rubric", rubric=text, name=text) for text in shape["rubrics"]]
    parser = shape["parser"]
    return experiment(
        ScriptedGenerator(answer, fingerprint=model),
        cases=Dataset(dataset_id="d", cases=[case(number, shape) for number in shape["cases"]]),
        samples=shape["samples"],
        prompt=None if prefix is None else PromptSpec(prefix=prefix),
        parser=None if parser is None else CountingParser(read, fingerprint=parser),
        metrics=[*(CountingMetric(component_id=name) for name in shape["metrics"]), *rubrics],
        judges=[ScriptedJudge(component_id=shape["judge"])] if rubrics else [],
        reducer=Joining() if shape["reduced"] else None,
        judge_config={"strict": shape["strict"]},
        existing_run_policy=shape["policy"],
    )


@settings(max_examples=25)
@given(shapes=st.lists(SHAPES, min_size=2, max_size=4), seed=st.data())
def test_a_run_does_what_its_plan_said(shapes: list[dict[str, Any]], seed: st.DataObject) -> None:
    store = InMemoryRunStore()
    before: dict[str, Any] = shapes[0]
    for other in shapes:
        # A small change: a few fields of another experiment, the rest as they were.
        names = seed.draw(st.sets(st.sampled_from(sorted(other)), max_size=4))
        shape = {**before, **{name: other[name] for name in names}}
        one = built(shape)
        plan = one.plan(store=store, until_stage=shape["until"])
        if plan.stages.get("judge_calls") is not None and plan.stages["judge_calls"].at_least:
            one.run(store=store, until_stage=shape["until"], progress=False)
        else:
            planned_run(one, store, until_stage=shape["until"])
        before = shape


@settings(max_examples=15)
@given(
    shape=st.sampled_from(SCRIPTS),
    samples=st.integers(1, 3),
    seed=st.integers(0, 10**6),
    plans=st.lists(ATTEMPT, max_size=2),
    rivals=st.integers(0, 1),
    reuse=st.sampled_from(["all", "all", "none", "5s"]),
    rerun=st.booleans(),
    until=st.sampled_from(UNTIL),
)
def test_after_any_history_of_failures_a_run_does_what_its_plan_said(
    shape: str,
    samples: int,
    seed: int,
    plans: list[dict[str, Any]],
    rivals: int,
    reuse: str,
    rerun: bool,
    until: str,
) -> None:
    """Generations to the number; of what rests on them, an answer seen before may spare some."""
    store = UnreliableStore({})
    scripts = [Script(shape, samples, 1, seed + rival) for rival in range(rivals + 1)]
    for number, script in enumerate(scripts):
        script.generator.answers = lambda case, ctx: f"{case.input}/{ctx.sample_index}"
        script.one.datasets = [
            one.model_copy(update={"revision": str(number)}) for one in script.one.datasets
        ]

    async def live() -> None:
        for plan in plans:
            for script in scripts:
                await _attempt(script, store, plan)
            go_on(plan["hence"])

    with passing_time() as go_on:
        asyncio.run(live())
        scripts[0].mend()
        one = scripts[0].one
        again = {"existing_run_policy": "rerun"} if rerun and reuse == "all" else {}
        options: dict[str, Any] = {
            "until_stage": until,
            "reuse": reuse,
            "runtime": one.runtime.model_copy(update=again),
        }
        plan = one.plan(store=store, **options)
        seq = last_seq(store, plan.run_id)
        one.run(store=store, progress=False, **options)
    said, did = foretold(plan), happened(store, plan.run_id, after=seq)
    whole = happened(store, plan.run_id)
    assert said.get("generate") == did.get("generate")
    for stage in said.keys() | did.keys():
        if stage in plan.stages and plan.stages[stage].at_least:
            continue
        to_run, reused = said.get(stage, (0, 0))
        made, found = did.get(stage, (0, 0))
        # An answer that comes out as it was before lets what this run made of it stand, untold.
        standing = sum(whole.get(stage, (0, 0))) - made - found
        assert made + found <= to_run + reused <= made + found + standing, stage
        assert made <= to_run, stage
