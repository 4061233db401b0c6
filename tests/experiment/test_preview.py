"""A preview shows what a run would send and make of an answer, and spends and keeps nothing.

Covers: themis.experiment, themis.experiment.preview
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import dataset, experiment
from themis import PromptSpec, use
from themis.adapters import openai
from themis.core.config import StorageConfig
from themis.core.errors import DefinitionError, ParseError
from themis.core.models import Case, Dataset, GenerationResult, ParsedOutput, Score, ScoreError
from themis.testing.scripted import CountingMetric, ScriptedGenerator

DATA = Dataset(
    dataset_id="sums",
    cases=[
        Case(case_id="one", input="1+1", expected_output="2", metadata={"unit": "apples"}),
        Case(case_id="two", input="2+2", expected_output="4", metadata={"unit": "pears"}),
    ],
)


class Digits:
    component_id = "parser/digits"
    version = "1"

    def fingerprint(self) -> str:
        return "digits"

    def parse(self, candidate: Any, ctx: Any) -> ParsedOutput:
        text = str(candidate.final_output)
        if text == "null":
            return ParsedOutput(value=None)
        if not text.isdecimal():
            raise ParseError(f"no digits in {text!r}")
        return ParsedOutput(value=text, format="number")


class Refusing:
    component_id = "metric/refusing"
    version = "1"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def fingerprint(self) -> str:
        return "refusing"

    async def score(self, parsed: Any, case: Any, ctx: Any) -> Score | ScoreError:
        if self.error is not None:
            raise self.error
        return ScoreError(metric_id="metric/refusing", reason="not my kind of answer")


def asking(**more: Any) -> Any:
    """A generator whose endpoint nobody can reach."""
    options = {"base_url": "http://127.0.0.1:1/v1", "api_mode": "chat_completions"}
    return openai("m", **{**options, **more})


def test_the_request_is_the_one_that_a_run_would_send() -> None:
    seen: list[Any] = []

    class Client:
        """Takes the place of an SDK's client, and keeps what it is asked."""

        @property
        def chat(self) -> Any:
            return self

        @property
        def completions(self) -> Any:
            return self

        async def create(self, **request: Any) -> Any:
            from types import SimpleNamespace

            seen.append(request)
            message = SimpleNamespace(content="4")
            return SimpleNamespace(
                id="1",
                choices=[SimpleNamespace(message=message, finish_reason="stop")],
                usage=None,
                model_dump=lambda mode="json": {},
            )

    one = experiment(
        asking(client=Client(), sampling={"temperature": 0.5}),
        cases=DATA,
        samples=2,
        prompt=PromptSpec(instructions="Be brief.", template="{{ input }} {{ metadata.unit }}"),
    )
    shown = one.preview(2)
    assert seen == []
    one.run(progress=False)
    first_samples = [shown[0].request, shown[1].request]
    assert all(request in seen for request in first_samples)
    assert [one["seed"] for one in first_samples] == [shown[0].seed, shown[1].seed]
    other = {request["seed"] for request in seen} - {shown[0].seed, shown[1].seed}
    assert other == {*shown[0].other_seeds, *shown[1].other_seeds}
    assert "1+1 apples" in str(first_samples[0])


def test_a_case_is_shown_as_the_generator_would_see_it() -> None:
    (plain, _) = experiment(asking(), cases=DATA).preview()
    assert plain.case == {"case_id": "one", "input": "1+1"}
    assert plain.is_exact
    own = experiment(asking(input_builder=lambda case: case.input), cases=DATA).preview(1)[0]
    assert own.case == DATA.cases[0].model_dump(mode="json")


def test_a_generator_that_tells_no_request_shows_the_rendered_input() -> None:
    prompt = PromptSpec(instructions="Be brief.", prefix="Q:")
    generator = ScriptedGenerator()
    (shown,) = experiment(generator, cases=DATA, prompt=prompt).preview(1)
    assert not shown.is_exact
    assert shown.request == "Q:\n1+1"
    assert shown.instructions == "Be brief."
    assert shown.prompt_tokens == -(-(len("Q:\n1+1") + len("Be brief.")) // 4)


def test_first_cases_come_from_all_datasets_in_order() -> None:
    both = experiment(cases=[dataset(2), DATA]).preview(3)
    assert [(one.dataset_id, one.case_id) for one in both] == [
        ("data", "c0"),
        ("data", "c1"),
        ("sums", "one"),
    ]
    assert len(experiment(cases=DATA).preview(10)) == 2


def test_nothing_is_asked_scored_or_kept(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    generator, metric = ScriptedGenerator(), CountingMetric()
    one = experiment(
        generator,
        metrics=[metric],
        storage=StorageConfig(store="sqlite", parameters={"path": "runs.db"}),
    )
    one.preview()
    assert (generator.calls, metric.calls) == ([], [])
    assert list(tmp_path.iterdir()) == []


def test_an_output_is_parsed_and_scored_as_in_a_run() -> None:
    one = experiment(
        asking(),
        cases=DATA,
        parser=Digits(),
        metrics=[
            "builtin/exact_match",
            use("builtin/exact_match", name="raw", parser="builtin/text"),
            Refusing(),
            use("builtin/llm_rubric", rubric="Is it right?", name="judged"),
        ],
        judges=["builtin/demo_judge"],
    )
    first, second = one.preview(2, outputs={"one": "2"})
    assert [(p.parser, p.value, p.format) for p in first.parsed] == [
        ("parser/digits", "2", "number"),
        ("builtin/text", "2", first.parsed[1].format),
    ]
    scored = {score.metric: score for score in first.scores}
    assert (scored["builtin/exact_match"].value, scored["raw"].value) == (1, 1)
    assert scored["metric/refusing"].value is None
    assert scored["metric/refusing"].failure == "not my kind of answer"
    (asked,) = first.judge_prompts
    assert (asked.metric, asked.judge) == ("judged", "builtin/demo_judge")
    assert asked.prompt is not None
    assert "Is it right?" in asked.prompt.text + (asked.prompt.instructions or "")
    assert (second.output, second.parsed, second.scores, second.judge_prompts) == (None, [], [], [])


@pytest.mark.parametrize(
    ("output", "category"), [("many", "parse_failure"), ("null", "parse_null")]
)
def test_what_a_parser_cannot_read_is_shown_and_scored_by_rule(output: str, category: str) -> None:
    one = experiment(
        ScriptedGenerator(), cases=DATA, parser=Digits(), metrics=["builtin/exact_match"]
    )
    (shown,) = one.preview(1, outputs=output)
    assert shown.parsed[0].failure_category == category
    assert shown.scores[0].value == 0
    assert shown.scores[0].failure_category == category


def test_a_refusal_is_not_read() -> None:
    refusal = GenerationResult(
        candidate_id="r", final_output="2", artifacts={"finish_reason": "refusal"}
    )
    one = experiment(
        ScriptedGenerator(), cases=DATA, parser=Digits(), metrics=["builtin/exact_match"]
    )
    (shown,) = one.preview(1, outputs=[refusal])
    assert shown.parsed[0].failure_category == "refused"
    assert shown.scores[0].value == 0


def test_a_preview_agrees_with_the_run_of_the_same_outputs() -> None:
    outputs = {"one": "2", "two": "five"}
    generator = ScriptedGenerator(outputs)
    one = experiment(generator, cases=DATA, parser=Digits(), metrics=["builtin/exact_match"])
    shown = {case.case_id: case.scores[0] for case in one.preview(2, outputs=outputs)}
    rows = one.run(progress=False).score_rows()
    assert [(row.case_id, row.value, row.error_category) for row in rows] == [
        (case_id, score.value, score.failure_category) for case_id, score in shown.items()
    ]


def test_a_metric_that_breaks_is_shown_to_break() -> None:
    one = experiment(cases=DATA, metrics=[Refusing(ValueError("two\nlines"))])
    (shown,) = one.preview(1, outputs="x")
    assert (shown.scores[0].value, shown.scores[0].failure) == (None, "two lines")


def test_what_a_component_changes_in_a_case_is_its_own_copy() -> None:
    class Changing(Refusing):
        async def score(self, parsed: Any, case: Any, ctx: Any) -> Score:
            case.input["changed"] = True
            parsed.value["changed"] = True
            return Score(metric_id="m", value=1)

    data = Dataset(dataset_id="d", cases=[Case(case_id="1", input={"q": 1})])
    given = {"a": 1}
    experiment(cases=data, metrics=[Changing()]).preview(1, outputs=[given])
    assert (data.cases[0].input, given) == ({"q": 1}, {"a": 1})


def broken(case: Case) -> str:
    raise KeyError(case.metadata["no"])


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: experiment(asking(input_builder=broken), cases=DATA), "case 'one' of dataset"),
        (
            lambda: experiment(
                asking(), cases=DATA, prompt=PromptSpec(template="{{ metadata.colour }}")
            ),
            "case 'one'",
        ),
    ],
)
def test_a_request_that_cannot_be_made_is_one_line_that_names_the_case(
    build: Any, said: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        build().preview()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("n", "outputs", "said"),
    [
        (0, None, "n = 0: must be an integer of at least 1"),
        (True, None, "n = True"),
        (1, {"two": "4"}, "'two', which is not among the first 1"),
        (2, {"on": "4"}, "did you mean 'one'?"),
        (1, ["a", "b"], "outputs holds 2 for 1 cases"),
        (1, 5, "outputs is a int"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused(n: Any, outputs: Any, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        experiment(cases=DATA).preview(n, outputs=outputs)
    assert said in str(caught.value)


async def test_a_preview_works_inside_a_running_loop() -> None:
    assert len(experiment(cases=DATA, metrics=[Refusing()]).preview(outputs="x")) == 2


def test_a_secret_in_what_addresses_a_request_is_hidden_and_content_is_not() -> None:
    key = "sk-" + "aB3dE5gH7jK9" * 4

    class Telling(ScriptedGenerator):
        def request(self, case: Case, ctx: Any) -> Any:
            return {
                "url": f"http://user:{key}@host/",
                "headers": {"Authorization": "Bearer secret-one", "x": key},
                "body": {"question": case.input, "password": "is asked about"},
            }

    data = Dataset(dataset_id="d", cases=[Case(case_id="1", input=f"Is {key} a key?")])
    (shown,) = experiment(Telling(), cases=data).preview()
    assert shown.request == {
        "url": "http://user:[hidden]@host/",
        "headers": {"Authorization": "[hidden]", "x": "[hidden]"},
        "body": {"question": f"Is {key} a key?", "password": "is asked about"},
    }
