"""What users write: refused in one line that names the field, the value and the way out.

Covers: themis.core.base, themis.core.config, themis.core.errors, themis.core.field_types,
themis.core.models, themis.core.prompts
"""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from themis.core.config import (
    EvaluationConfig,
    GenerationConfig,
    RuntimeConfig,
    StorageConfig,
    use,
)
from themis.core.errors import DefinitionError, ThemisError
from themis.core.models import Case, Dataset, GenerationResult
from themis.core.prompts import PromptSpec
from themis.core.redaction import is_secret_name, redact

REFUSED: list[tuple[str, Any, list[str]]] = [
    ("an unknown field", lambda: Case(case_id="a", inptu=1), ["Case", "inptu", "input"]),
    ("a missing field", lambda: Case(case_id="a"), ["Case.input", "missing"]),
    ("an empty case id", lambda: Case(case_id="", input=1), ["case_id", "non-empty"]),
    ("a case id that is no text", lambda: Case(case_id=7, input=1), ["case_id", "7", "string"]),
    (
        "an input that is not JSON",
        lambda: Case(case_id="a", input={"x": [b""]}),
        ["input.x[0]", "bytes"],
    ),
    (
        "a gold answer that is NaN",
        lambda: Case(case_id="a", input=1, expected_output=math.nan),
        ["expected_output", "nan"],
    ),
    (
        "metadata that are no object",
        lambda: Case(case_id="a", input=1, metadata=[1]),
        ["metadata", "[1]"],
    ),
    ("an empty dataset id", lambda: Dataset(dataset_id=""), ["dataset_id", "non-empty"]),
    (
        "cases that are none",
        lambda: Dataset(dataset_id="d", cases=[{"case_id": "a"}]),
        ["Case.input"],
    ),
    (
        "a NaN output",
        lambda: GenerationResult(candidate_id="x", final_output=math.nan),
        ["final_output", "nan"],
    ),
    (
        "no samples",
        lambda: GenerationConfig(generator="x", candidate_policy={"num_samples": 0}),
        ["candidate_policy.num_samples", "0", "at least 1"],
    ),
    (
        "fewer than no samples",
        lambda: GenerationConfig(generator="x", candidate_policy={"num_samples": -1}),
        ["num_samples", "-1"],
    ),
    (
        "samples that are true",
        lambda: GenerationConfig(generator="x", candidate_policy={"num_samples": True}),
        ["num_samples", "True"],
    ),
    (
        "samples that are text",
        lambda: GenerationConfig(generator="x", candidate_policy={"num_samples": "4"}),
        ["num_samples", "'4'"],
    ),
    (
        "half a sample",
        lambda: GenerationConfig(generator="x", candidate_policy={"num_samples": 1.0}),
        ["num_samples", "1.0"],
    ),
    (
        "an unknown policy key",
        lambda: GenerationConfig(generator="x", candidate_policy={"num_sample": 2}),
        ["num_sample", "did you mean 'num_samples'"],
    ),
    (
        "two parsers",
        lambda: EvaluationConfig(parsers=["builtin/text", "builtin/text"]),
        ["parsers", "2", "use(metric, parser=...)"],
    ),
    (
        "an unknown evaluation field",
        lambda: EvaluationConfig(metric=["x"]),
        ["metric", "did you mean 'metrics'"],
    ),
    ("no store", lambda: StorageConfig(), ["StorageConfig.store", "missing"]),
    ("no tasks", lambda: RuntimeConfig(max_concurrent_tasks=0), ["max_concurrent_tasks", "0"]),
    (
        "an unknown stage",
        lambda: RuntimeConfig(stage_concurrency={"generation": 1}),
        ["generation", "did you mean 'generate'"],
    ),
    (
        "a stage of none",
        lambda: RuntimeConfig(stage_concurrency={"judge": 0}),
        ["stage_concurrency.judge", "0"],
    ),
    (
        "an endless timeout by zero",
        lambda: RuntimeConfig(generation_timeout=0),
        ["generation_timeout", "0", "None"],
    ),
    (
        "a NaN delay",
        lambda: RuntimeConfig(generation_retry_delay=math.nan),
        ["generation_retry_delay", "nan"],
    ),
    (
        "a negative delay",
        lambda: RuntimeConfig(judge_retry_delay=-1.0),
        ["judge_retry_delay", "-1.0"],
    ),
    (
        "no tries",
        lambda: RuntimeConfig(generation_retry_attempts=0),
        ["generation_retry_attempts", "0"],
    ),
    (
        "an unknown rate",
        lambda: RuntimeConfig(provider_rate_limits={"p": {"rpm": 1}}),
        ["provider_rate_limits.p", "rpm", "requests_per_minute"],
    ),
    (
        "a rate of none",
        lambda: RuntimeConfig(provider_rate_limits={"p": 0}),
        ["provider_rate_limits.p", "0"],
    ),
    (
        "an unknown policy",
        lambda: RuntimeConfig(existing_run_policy="overwrite"),
        ["existing_run_policy", "overwrite"],
    ),
    ("a prompt field", lambda: PromptSpec(sufix="x"), ["PromptSpec", "sufix", "suffix"]),
    ("a block that is text", lambda: PromptSpec(blocks=["x"]), ["blocks", "'x'"]),
    (
        "another way of examples",
        lambda: PromptSpec(examples_as="table"),
        ["examples_as", "table", "turns"],
    ),
]


@pytest.mark.parametrize(
    ("make", "named"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_bad_definition_is_refused_in_one_line_that_names_it(make: Any, named: list[str]) -> None:
    with pytest.raises(DefinitionError) as refused:
        make()
    words = str(refused.value)
    assert "\n" not in words
    assert len(words) < 400
    for name in named:
        assert name in words
    assert isinstance(refused.value, ThemisError)
    assert isinstance(refused.value, ValueError)


def test_a_model_made_unchecked_is_the_one_that_checking_would_have_made() -> None:
    fields: dict[str, Any] = {"case_id": "a", "input": {"q": [1]}, "expected_output": 2}
    checked = Case(**fields, metadata={"m": 1})
    made = Case.unchecked(**fields, metadata={"m": 1})
    assert made == checked
    assert made.model_dump() == checked.model_dump()
    assert made.model_copy(update={"case_id": "b"}) == checked.model_copy(update={"case_id": "b"})
    assert pickle.loads(pickle.dumps(made)) == checked
    with pytest.raises((DefinitionError, ValueError)):
        made.case_id = "c"


def test_models_are_frozen() -> None:
    case = Case(case_id="a", input=1)
    with pytest.raises((DefinitionError, ValueError)):
        case.input = 2  # type: ignore[misc]


def test_a_use_keeps_params_name_and_parser_apart() -> None:
    one = use("builtin/exact_match", name="close", parser="builtin/text", tol=1e-6)
    assert (one.use, one.name, one.parser, one.params) == (
        "builtin/exact_match",
        "close",
        "builtin/text",
        {"tol": 1e-6},
    )


def test_datasets_are_cut_filtered_and_drawn_from_without_changing_the_cases() -> None:
    data = Dataset(dataset_id="d", cases=[Case(case_id=str(i), input=i) for i in range(10)])
    assert [case.case_id for case in data.take(3)] == ["0", "1", "2"]
    assert [case.case_id for case in data.filter(lambda case: case.input % 2 == 0)] == list("02468")
    drawn = [case.case_id for case in data.sample(4, seed=1)]
    assert drawn == sorted(drawn)
    assert drawn == [case.case_id for case in data.sample(4, seed=1)]
    assert drawn != [case.case_id for case in data.sample(4, seed=2)]
    with pytest.raises(DefinitionError, match="11"):
        data.sample(11, seed=1)
    with pytest.raises(DefinitionError, match="-1"):
        data.take(-1)


@pytest.mark.parametrize(
    "name", ["", "  ", "a\nb", "a\tb", "\x00", "\x1b[31m", "a\u2028b", "\ud800"]
)
def test_a_name_that_no_table_could_show_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="name"):
        use("builtin/exact_match", name=name)


@pytest.mark.parametrize("name", ["strict", "größer als 5", "精确", "a/b c", "👩‍🔬"])
def test_any_name_that_can_be_shown_is_taken(name: str) -> None:
    assert use("builtin/exact_match", name=name).name == name


SECRET = [
    "api_key",
    "API-KEY",
    "apikey",
    "x-api-key",
    "Authorization",
    "password",
    "client_secret",
    "set-cookie",
    "access_token",
    "private_key",
    "db.password",
    "token",
    "hf_token",
    "HF_TOKEN",
    "github_token",
    "api_token",
    "apiToken",
    "X-Auth-Token",
    "access_key",
    "AWS_ACCESS_KEY_ID",
    "accessKey",
    "secretAccessKey",
    "pwd",
    "db_pwd",
    "passphrase",
    "openaiApiKey",
    "OPENAI_API_KEY",
    "APIKey",
    "clientSecret",
    "Ocp-Apim-Subscription-Key",
]
PLAIN = [
    "tokenizer",
    "max_tokens",
    "prompt_tokens",
    "token_usage",
    "author",
    "keyboard",
    "secretary",
    "tokens",
    "maxTokens",
    "token_ids",
    "tokenizer_path",
    "eos_token",
    "pad_token",
    "eos_token_id",
    "cost_per_token",
    "time_to_first_token",
    "key",
    "keyword",
    "sort_key",
    "case_key",
    "provider_key",
    "monkey",
    "authors",
    "cookies",
    "cookiesRecipe",
    "passed",
    "api",
    "accessibility",
    "pwdb",
]


@pytest.mark.parametrize("name", SECRET)
def test_what_is_called_a_secret_is_hidden_wherever_it_stands(name: str) -> None:
    assert is_secret_name(name)
    given = {"a": [{name: "sk-123", "model": "m"}], name: {"deep": 1}}
    hidden = redact(given)
    assert "sk-123" not in str(hidden)
    assert hidden["a"][0]["model"] == "m"
    assert given["a"][0][name] == "sk-123"  # type: ignore[index]


@pytest.mark.parametrize("name", PLAIN)
def test_what_only_sounds_like_a_secret_is_shown(name: str) -> None:
    assert not is_secret_name(name)
    assert redact({name: 5}) == {name: 5}


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"max_concurrent_tasks": 0}, "max_concurrent_tasks", "an integer of at least 1"),
        ({"cpu_workers": 0}, "cpu_workers", "an integer of at least 1"),
        ({"judge_timeout": 0.0}, "judge_timeout", "above 0 seconds, or None"),
        ({"drain_timeout": -1.0}, "drain_timeout", "must not be negative"),
        ({"generation_retry_delay": float("inf")}, "generation_retry_delay", "a finite number"),
        ({"stage_concurrency": {"judg": 1}}, "stage_concurrency", "did you mean 'judge'?"),
        ({"stage_concurrency": {"judge": 0}}, "stage_concurrency.judge", "at least 1"),
        ({"provider_rate_limits": {"a": 0}}, "provider_rate_limits.a", "at least 1"),
        ({"provider_rate_limits": {"a": {"rpm": 1}}}, "provider_rate_limits.a", "no key 'rpm'"),
        ({"budget": {"tokens": 1.5}}, "budget", "budget.tokens = 1.5: must be an integer"),
        ({"prices": {"m": {"input": 1.0}}}, "prices.m", "has no 'output'"),
        # Two fields with one wrong value are two faults, not one value of a wrong type.
        ({"max_concurrent_tasks": 0, "cpu_workers": 0}, "max_concurrent_tasks", "(and 1 more)"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(
    given: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        RuntimeConfig(**given)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"RuntimeConfig.{field}")
    assert said in str(caught.value)
