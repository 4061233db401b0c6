"""A function as a generator: how it is called, what it may return, and when it is called again.

Covers: themis.adapters.function, themis.adapters.prompting.function_fingerprint,
themis.adapters.prompting.messages, themis.planning.components
"""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.runs import dataset, experiment
from themis import Experiment
from themis.adapters import function
from themis.core.config import ComponentUse, StorageConfig
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError, InvalidResultError
from themis.core.models import Case, Dataset, GenerationResult
from themis.core.prompts import Example, PromptSpec
from themis.planning.components import declare
from themis.testing.crash import CrashHarness
from themis.testing.scripted import CallLog, CountingMetric

Context = Callable[..., GenerateContext]
TEXT = Case(case_id="case-1", input="What is 2+2?", metadata={"topic": "sums"})
MESSAGES = Case(
    case_id="case-1",
    input=[{"role": "system", "content": "You add."}, {"role": "user", "content": "2+2"}],
)
OBJECT = Case(case_id="case-1", input={"question": "2+2"}, expected_output="4")


def echo(given: Any) -> Any:
    return given


async def answer(generator: Any, case: Case, ctx: GenerateContext) -> Any:
    value = generator.generate(case, ctx)
    return (await value if asyncio.iscoroutine(value) else value).final_output


# ── what a function is given ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("case", "spec", "expected"),
    [
        (TEXT, None, "What is 2+2?"),
        (OBJECT, None, {"question": "2+2"}),
        (MESSAGES, None, MESSAGES.input),
        (TEXT, PromptSpec(prefix="Q:", suffix="A:"), "Q:\nWhat is 2+2?\nA:"),
        (TEXT, PromptSpec(template="{{ metadata.topic }}: {{ input }}"), "sums: What is 2+2?"),
        (TEXT, PromptSpec(instructions="Be brief.", prefix="Q:"), "Be brief.\n\nQ:\nWhat is 2+2?"),
        (OBJECT, PromptSpec(instructions="Be brief."), 'Be brief.\n\n{"question":"2+2"}'),
        (MESSAGES, PromptSpec(instructions="Be brief."), [
            {"role": "system", "content": "Be brief.\n\nYou add."},
            {"role": "user", "content": "2+2"},
        ]),
        (TEXT, PromptSpec(instructions="Be brief.", examples=[Example(input="1+1", output="2")]), [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1+1"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "What is 2+2?"},
        ]),
    ],
)  # fmt: skip
async def test_a_function_of_one_argument_is_given_the_rendered_input(
    context: Context, case: Case, spec: PromptSpec | None, expected: Any
) -> None:
    generator = function(echo)
    ctx = context(prompt_spec=spec)
    assert await answer(generator, case, ctx) == expected
    assert generator.request(case, ctx) == {"input": expected}
    assert generator.reads == {"input"}


async def test_a_function_of_two_arguments_is_given_the_case_and_the_context(
    context: Context,
) -> None:
    seen: list[Any] = []

    def build(case: Case, ctx: GenerateContext) -> str:
        seen.append((case, ctx))
        return "4"

    generator = function(build)
    ctx = context(prompt_spec=PromptSpec(instructions="Be brief."), sample_index=2)
    assert await answer(generator, OBJECT, ctx) == "4"
    assert seen == [(OBJECT, ctx)]
    assert generator.reads == {"input", "expected_output", "metadata"}
    for reads in ({"metadata"}, set()):
        assert function(build, reads=reads, fingerprint="v").reads == reads


async def test_arguments_with_a_default_do_not_count(context: Context) -> None:
    def one(prompt: str, temperature: float = 0.5, *, brief: bool = True) -> Any:
        return [prompt, temperature, brief]

    def two(case: Case, ctx: GenerateContext, tries: int = 1) -> Any:
        return [case.case_id, ctx.seed, tries]

    assert await answer(function(one), TEXT, context()) == ["What is 2+2?", 0.5, True]
    assert await answer(function(two), TEXT, context()) == ["case-1", 7, 1]
    partial = functools.partial(two, tries=3)
    assert await answer(function(partial), TEXT, context()) == ["case-1", 7, 3]


def _none() -> str:
    return ""


def _three(a: Any, b: Any, c: Any) -> str:
    return ""


def _named(a: Any, *, model: str) -> str:
    return model


def _yields(a: Any) -> Any:
    yield a


async def _streams(a: Any) -> Any:
    yield a


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (_none, "_none takes 0 arguments without a default"),
        (_three, "_three takes 3 arguments without a default"),
        (_named, "_named needs the argument model by name"),
        (_yields, "_yields yields"),
        (_streams, "_streams yields"),
        (Case, "callable is the class Case"),
        ("print", "callable is a str"),
        (7, "callable is a int"),
    ],
)
def test_what_cannot_be_called_so_is_refused_when_it_is_made(fn: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        function(fn)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"reads": {"input"}}, "reads= is for a function of"),
        ({"version": ""}, "version is empty"),
        ({"max_output_tokens": 0}, "max_output_tokens = 0"),
        ({"max_output_tokens": True}, "max_output_tokens = True"),
        ({"name": "a\nb"}, "text on one line"),
    ],
)
def test_settings_that_say_nothing_are_refused(settings: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        function(echo, **settings)


# ── what it returns ───────────────────────────────────────────────────────────────────────────────


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    )
)
def test_any_json_value_is_an_answer_as_it_is(value: Any) -> None:
    generator: Any = function(lambda prompt: value, fingerprint="v")
    ctx = GenerateContext(
        run_id=None, case_id=None, dataset_id=None, case_key=None, seed=1,  # type: ignore[arg-type]
    )  # fmt: skip
    assert generator.generate(TEXT, ctx).final_output == value


async def test_a_generation_result_is_taken_as_it_is(context: Context) -> None:
    made = GenerationResult(candidate_id="mine", final_output="4", token_usage={"prompt_tokens": 3})
    generator: Any = function(lambda prompt: made, fingerprint="v")
    assert generator.generate(TEXT, context()) is made


async def test_what_is_no_json_value_is_refused_with_what_to_return(context: Context) -> None:
    generator: Any = function(lambda prompt: {"a": (1, 2)}, name="pairs")
    with pytest.raises(InvalidResultError, match=r"returned\.a is tuple.*make it a list; return"):
        generator.generate(TEXT, context())


# ── how it runs ───────────────────────────────────────────────────────────────────────────────────


async def _later(prompt: Any) -> Any:
    await asyncio.sleep(0)
    return prompt


class Calling:
    async def __call__(self, prompt: Any) -> Any:
        return prompt


class BoundComponent:
    suffix = "!"

    def reply(self, prompt: Any) -> Any:
        return f"{prompt}{self.suffix}"


def _promising(prompt: Any) -> Any:
    return _later(prompt)


@pytest.mark.parametrize(
    ("fn", "fingerprint", "is_async"),
    [
        (echo, None, False),
        (_later, None, True),
        (functools.partial(_later), None, True),
        (Calling(), "v1", True),
        (BoundComponent().reply, "v1", False),
        (_promising, None, False),
    ],
)
async def test_sync_and_async_functions_run_in_an_experiment(
    fn: Any, fingerprint: str | None, is_async: bool
) -> None:
    generator: Any = function(fn, fingerprint=fingerprint, name="f")
    assert asyncio.iscoroutinefunction(generator.generate) is is_async
    result = await experiment(generator, cases=2, metrics=[]).run_async(progress=False)
    said = [case.generated_candidates[0].final_output for case in result.cases]
    suffix = "!" if fingerprint and not is_async else None
    assert said == ([f"{n}{suffix}" for n in range(2)] if suffix else [0, 1])


async def test_a_sync_function_runs_beside_the_loop_and_is_left_when_it_hangs() -> None:
    release, threads = threading.Event(), []

    def reply(prompt: Any) -> Any:
        threads.append(threading.current_thread())
        if prompt == 1:
            release.wait(30)
        return prompt

    generator = function(reply, fingerprint="v1")
    try:
        result = await experiment(
            generator, metrics=[], generation_timeout=2.0, generation_retry_attempts=1
        ).run_async(progress=False)
    finally:
        release.set()
    failures = [one for case in result.cases for one in case.generation_failures]
    assert [one.category for one in failures] == ["timeout"]
    assert threading.main_thread() not in threads
    assert any("had not returned" in note for note in result.notes)


async def test_what_a_function_changes_in_its_case_stays_with_that_call() -> None:
    def reply(given: Any) -> Any:
        given["n"].append(1)
        return given["n"]

    data = Dataset(dataset_id="d", cases=[Case(case_id="c", input={"n": []})])
    result = await experiment(function(reply), cases=data, samples=3, metrics=[]).run_async(
        progress=False
    )
    said = [one.final_output for one in result.cases[0].generated_candidates]
    assert said == [[1], [1], [1]]


async def test_what_a_function_changes_in_its_input_is_not_told_as_what_it_was_given(
    context: Context,
) -> None:
    def change(given: Any) -> str:
        given.append({"role": "assistant", "content": "4"})
        given[0]["content"] = "changed"
        return "4"

    before = MESSAGES.model_dump()
    result = function(change).generate(MESSAGES, context())
    assert result.artifacts == {"request": {"input": before["input"]}}
    assert result.artifacts["request"] == function(change).request(MESSAGES, context())
    assert MESSAGES.model_dump() == before


@pytest.mark.parametrize(
    "fn", [lambda given: json.dumps(given), lambda case, ctx: json.dumps(case.model_dump())]
)
async def test_cases_of_one_key_are_given_alike(fn: Any, context: Context) -> None:
    one = Case(case_id="1", input={"b": [{"d": 2.0, "c": 1}], "a": 1}, metadata={"z": 1, "y": 2})
    other = Case(case_id="1", input={"a": 1.0, "b": [{"c": 1, "d": 2}]}, metadata={"y": 2, "z": 1})
    made = function(fn, fingerprint="dumps")
    assert await answer(made, one, context()) == await answer(made, other, context())
    assert json.dumps(made.request(one, context())) == json.dumps(made.request(other, context()))


async def test_a_function_that_raises_is_an_error_of_its_case() -> None:
    def reply(prompt: Any) -> Any:
        return 1 // prompt

    result = await experiment(function(reply), cases=2, metrics=[]).run_async(progress=False)
    (failure,) = result.cases[0].generation_failures
    assert (failure.category, failure.cause) == ("generation", "ZeroDivisionError")
    assert failure.message.startswith("function/reply: ")
    assert result.cases[1].generated_candidates[0].final_output == 1


def test_a_config_names_it_by_its_path() -> None:
    spec = ComponentUse(use="function", params={"callable": echo, "version": "2"})
    run = experiment(spec, metrics=[]).run(progress=False)
    assert run.status == "completed"


def test_a_config_file_names_it_by_its_import_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_functions.py").write_text("def double(prompt):\n    return prompt * 2\n")
    config = tmp_path / "experiment.yaml"
    config.write_text("""
generation: {generator: {use: function, callable: "own_functions:double", version: "1"}}
evaluation: {metrics: [builtin/exact_match], parsers: [builtin/text]}
storage: {store: memory}
datasets: [{dataset_id: d, cases: [{case_id: a, input: ab, expected_output: abab}]}]
""")
    result = Experiment.from_config(config).run(progress=False)
    assert result.metrics["builtin/exact_match"].value == 1.0


def test_what_it_says_of_itself() -> None:
    generator = function(echo, version="3", provider_key="mine", max_output_tokens=20)
    assert (generator.component_id, generator.version) == ("function/echo", "3")
    assert (generator.provider_key, generator.max_output_tokens) == ("mine", 20)
    assert function(lambda prompt: prompt, name="mirror").component_id == "function/mirror"


def test_the_bound_of_its_tokens_is_above_the_bytes_of_what_it_is_given(context: Context) -> None:
    case = Case(case_id="c", input="größer " * 100)
    generator = function(echo)
    assert generator.max_prompt_tokens(case, context()) >= len("größer ".encode()) * 100
    assert generator.estimate_tokens(case, context()) == 175


# ── when it is called again ───────────────────────────────────────────────────────────────────────


def test_without_a_version_answers_stay_in_their_run(tmp_path: Path) -> None:
    assert _calls_in_two_runs(tmp_path, version=None) == [3, 6]


def test_with_a_version_answers_are_taken_over_by_the_next_run(tmp_path: Path) -> None:
    assert _calls_in_two_runs(tmp_path, version="1") == [3, 3]


def _calls_in_two_runs(folder: Path, **settings: Any) -> list[int]:
    log = CallLog(folder / "calls.log")

    def reply(prompt: Any) -> Any:
        log.write("call", str(prompt))
        return prompt

    storage = StorageConfig(store="sqlite", parameters={"path": str(folder / "runs.db")})
    counts = []
    for metric in ("one", "two"):  # another metric, so another run
        one = experiment(
            function(reply, fingerprint="v", **settings),
            cases=dataset(3),
            metrics=[CountingMetric(component_id=metric)],
            storage=storage,
        )
        assert one.run(progress=False).status == "completed"
        counts.append(len(log.lines()))
    resumed = experiment(
        function(reply, fingerprint="v", **settings),
        metrics=[CountingMetric(component_id="two")],
        storage=storage,
    ).run(progress=False)
    assert resumed.status == "completed"
    assert len(log.lines()) == counts[-1]  # the same run again calls nothing
    return counts


SCRIPT = """
import json, sys
from themis import Experiment
from themis.adapters import function
from themis.core.config import *
from themis.core.models import Case, Dataset
from themis.experiment.experiment import Experiment
from themis.testing.scripted import CallLog, CountingMetric
import helper

settings = json.loads(sys.argv[1])
LOG = CallLog(settings["log"])

def reply(prompt):
    LOG.write("call", str(prompt))
    return helper.answer(prompt) + 0

one = Experiment(
    generation=GenerationConfig(generator=function(
        reply, version=settings["version"], fingerprint=settings["fingerprint"])),
    evaluation=EvaluationConfig(metrics=[CountingMetric(component_id=settings["metric"])]),
    storage=StorageConfig(store="sqlite", parameters={"path": settings["db"]}),
    datasets=[Dataset(dataset_id="d", cases=[
        Case(case_id=f"c{i}", input=i, expected_output=i + 1) for i in range(3)
    ])],
)
result = one.run(progress=False)
open(settings["out"], "w").write(json.dumps({
    "values": [row.value for row in result.score_rows()], "notes": result.notes,
}))
"""
HELPER = "def answer(value):\n    return value + 1\n"


class Project:
    """A user's folder: a script with a function, and a helper beside it."""

    def __init__(self, harness: CrashHarness, folder: Path) -> None:
        self.folder = folder
        self.harness = harness
        self.log = CallLog(folder / "calls.log")
        self.write("helper.py", HELPER)
        self.write("script.py", SCRIPT)

    def write(self, name: str, source: str) -> None:
        (self.folder / name).write_text(source)

    def run(self, metric: str, version: str | None, fingerprint: str | None = None) -> Any:
        out = self.folder / "out.json"
        settings = {
            "log": str(self.log.path), "db": str(self.folder / "runs.db"), "out": str(out),
            "metric": metric, "version": version, "fingerprint": fingerprint,
        }  # fmt: skip
        outcome = self.harness.run(
            self.folder / "script.py", [json.dumps(settings)], log=self.log.path
        )
        assert outcome.status == 0, outcome.error
        return json.loads(out.read_text())


@pytest.fixture(scope="module")
def harness() -> Iterator[CrashHarness]:
    with CrashHarness() as made:
        yield made


@pytest.fixture
def project(harness: CrashHarness, tmp_path: Path) -> Project:
    return Project(harness, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("version", [None, "1"])
def test_an_edited_function_is_called_again(project: Project, version: str | None) -> None:
    assert project.run("m", version)["values"] == [1, 1, 1]
    project.write("script.py", SCRIPT.replace("+ 0", "+ 5"))
    assert project.run("m", version)["values"] == [0, 0, 0]
    assert len(project.log.lines()) == 6


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["m", "n"], ids=["the same run", "another run"])
@pytest.mark.parametrize(
    ("version", "fingerprint"), [(None, None), ("1", None), ("1", "mine")], ids=str
)
def test_a_helper_that_changed_behind_a_function_is_noticed(
    project: Project, version: str | None, fingerprint: str | None, metric: str
) -> None:
    assert project.run("m", version, fingerprint)["values"] == [1, 1, 1]
    project.write("helper.py", HELPER.replace("+ 1", "+ 2"))
    again = project.run(metric, version, fingerprint)
    assert again["values"] == [0, 0, 0]
    assert len(project.log.lines()) == 6
    if version is not None or metric == "m":  # it would have been reused
        said = "the code of generator 'function/reply' (__main__.reply) changed and its fingerprint"
        assert any(said in note for note in again["notes"])


@pytest.mark.slow
def test_a_comment_behind_a_function_calls_nothing_again(project: Project) -> None:
    project.run("m", "1", "mine")
    project.write("helper.py", "# adds one\n" + HELPER.replace("\n    ", "\n    # to it\n    "))
    for metric in ("m", "n"):
        again = project.run(metric, "1", "mine")
        assert (again["values"], again["notes"]) == ([1, 1, 1], [])
    assert len(project.log.lines()) == 3


def test_the_code_behind_a_function_is_told_from_other_code() -> None:
    def make(n: int) -> Any:
        def reply(prompt: Any) -> Any:
            return n

        return reply

    def code_of(generator: Any) -> str | None:
        return declare(generator, "generator", "generator").bind().code

    assert code_of(function(make(1))) == code_of(function(make(1)))
    assert code_of(function(make(1))) != code_of(function(make(2)))
    bound = code_of(function(BoundComponent().reply, fingerprint="v"))
    calling = code_of(function(Calling(), fingerprint="v"))
    assert None not in (bound, calling)
    assert bound != calling
