"""The adapters against a real language model, over real HTTP.

SmolLM2 behind llama.cpp's server is a weak model, and what it says is of no matter here; what the
server says about it (tokens, reasons, refusals, errors) is not ours, and so proves something.

Covers: themis.adapters, themis.adapters.model_apis.endpoint_generator,
themis.adapters.model_apis.endpoint_judge, themis.adapters.model_apis.streaming
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.demo.local_model import local_model
from examples.real_model import run_example
from tests.support.forwarder import Forwarder, Passage
from tests.support.killed_run import KilledRun
from tests.support.model_server import MODEL_ID, SLOT_TOKENS, shared_model
from tests.support.questions import AS_COLOUR, COLOUR, MODES, answers, ask, counted, texts
from tests.support.runs import experiment
from themis import RunResult, use
from themis.adapters import openai, openai_judge, vllm
from themis.core.models import Case, Dataset
from themis.core.results import RunStatus

QUESTION = "Name a colour."
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.network


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    base = tmp_path_factory.getbasetemp()
    with shared_model((base if worker_id == "master" else base.parent) / "model") as base_url:
        yield base_url


def generator(url: str, api_mode: str = "chat_completions", **more: Any) -> Any:
    sampling = {"temperature": 0, "max_output_tokens": 8, **more.pop("sampling", {})}
    return openai(
        MODEL_ID, base_url=url, api_key="none", api_mode=api_mode, sampling=sampling, **more
    )


@pytest.mark.parametrize("api_mode", MODES)
def test_an_answer_comes_with_the_servers_own_figures(url: str, api_mode: str) -> None:
    (answer,) = answers(ask(generator(url, api_mode), QUESTION))
    artifacts = answer.artifacts or {}
    assert isinstance(answer.final_output, str)
    assert answer.final_output.strip()
    assert answer.token_usage is not None
    usage = (answer.token_usage["prompt_tokens"], answer.token_usage["completion_tokens"])
    assert usage == counted(answer)
    assert usage[1] <= 8
    assert artifacts["provider_request_id"] == artifacts["raw_response"]["id"]
    assert artifacts["response_headers"]["server"] == "llama.cpp"
    assert answer.latency_ms is not None
    # The server times its own work, and tells it over chat only.
    worked = artifacts["raw_response"].get("timings", {})
    assert answer.latency_ms > worked.get("prompt_ms", 0) + worked.get("predicted_ms", 0)


def test_both_apis_and_both_adapters_put_the_same_prompt_to_the_model(url: str) -> None:
    bare = counted(answers(ask(generator(url), QUESTION))[0])[0]
    prompts = [
        counted(answers(ask(make(url, api_mode), QUESTION))[0])[0]
        for api_mode in MODES
        for make in (
            lambda url, mode: generator(url, mode, instructions="Answer in one word."),
            lambda url, mode: vllm(
                MODEL_ID, base_url=url, api_mode=mode, instructions="Answer in one word.",
                sampling={"temperature": 0, "max_output_tokens": 8},
            ),
        )
    ]  # fmt: skip
    assert len(set(prompts)) == 1
    # The instructions are in it, in place of those that the model's own template would put there.
    assert prompts[0] != bare


def test_chat_messages_are_a_conversation_to_the_model(url: str) -> None:
    messages = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": "What is my name?"},
    ]
    alone, whole = answers(ask(generator(url), messages[-1]["content"], messages))
    assert counted(whole)[0] > counted(alone)[0] + 10
    assert len(whole.conversation or []) == 4


def test_an_answer_that_was_cut_off_says_so_and_a_finished_one_does_not(url: str) -> None:
    (cut,) = answers(ask(generator(url, sampling={"max_output_tokens": 2}), "Tell me a story."))
    assert (cut.artifacts or {})["finish_reason"] == "length"
    assert counted(cut)[1] == 2
    sampling = {"response_format": AS_COLOUR, "max_output_tokens": 64}
    (done,) = answers(ask(generator(url, sampling=sampling), "Tell me a story."))
    assert (done.artifacts or {})["finish_reason"] == "stop"
    assert counted(done)[1] < 64


@pytest.mark.parametrize("api_mode", MODES)
def test_a_streamed_answer_is_the_whole_answer_with_the_time_of_its_first_token(
    url: str, api_mode: str
) -> None:
    with Forwarder(url) as forwarder:
        (answer,) = answers(ask(generator(forwarder.url, api_mode, stream=True), QUESTION))
    (passage,) = forwarder.passages
    assert passage.body["stream"] is True
    events = passage.streamed()
    if api_mode == "responses":
        pieces = [one["delta"] for one in events if one["type"] == "response.output_text.delta"]
        usage = events[-1]["response"]["usage"]
        tokens = (usage["input_tokens"], usage["output_tokens"])
    else:
        choices = [one["choices"][0] for one in events if one["choices"]]
        pieces = [one["delta"].get("content") or "" for one in choices]
        usage = events[-1]["usage"]
        tokens = (usage["prompt_tokens"], usage["completion_tokens"])
        assert (answer.artifacts or {})["finish_reason"] == choices[-1]["finish_reason"]
    assert len(pieces) > 1
    assert answer.final_output == "".join(pieces)
    assert answer.token_usage is not None
    assert (answer.token_usage["prompt_tokens"], answer.token_usage["completion_tokens"]) == tokens
    assert answer.latency_ms is not None
    assert 0 < (answer.artifacts or {})["first_token_ms"] < answer.latency_ms


def test_a_json_schema_is_kept_to(url: str) -> None:
    # Over chat: this server reads a schema in a request of the Responses API and leaves it.
    sampling = {"response_format": AS_COLOUR, "max_output_tokens": 48}
    (said,) = texts(ask(generator(url, sampling=sampling), "Tell me about the sea."))
    assert json.loads(said)["colour"] in COLOUR["properties"]["colour"]["enum"]


@pytest.mark.parametrize("api_mode", MODES)
def test_a_question_too_long_for_the_model_is_one_cases_error(url: str, api_mode: str) -> None:
    with Forwarder(url) as forwarder:
        result = ask(
            generator(forwarder.url, api_mode, sampling={"max_output_tokens": 2}),
            QUESTION, "word " * 2 * SLOT_TOKENS, f"{QUESTION} Another.",
        )  # fmt: skip
    assert result.status is RunStatus.PARTIAL_FAILURE
    first, long, last = result.cases
    assert [len(one.generated_candidates) for one in (first, long, last)] == [1, 0, 1]
    (failure,) = long.generation_failures
    assert "answered 400" in failure.message
    assert "exceeds the available context size" in failure.message
    assert sorted(one.status or 0 for one in forwarder.passages) == [200, 200, 400]


def test_the_seed_of_a_sample_is_honoured() -> None:
    # What shares a batch, or comes from the cache of prompts, is computed in another order, and a
    # near tie may then fall otherwise: equal answers need a server that does one thing at a time.
    warm = {"temperature": 1, "cache_prompt": False}
    with local_model(slots=1, threads=1) as alone:
        one = generator(alone, sampling=warm)
        first, second = (
            texts(ask(one, QUESTION, samples=3, max_concurrent_tasks=1)) for _ in range(2)
        )
    assert first == second
    assert len(set(first)) > 1


def test_as_many_samples_are_asked_for_as_there_are_to_be(url: str) -> None:
    with Forwarder(url) as forwarder:
        result = ask(
            generator(forwarder.url, sampling={"temperature": 1, "max_output_tokens": 4}),
            QUESTION, f"{QUESTION} Another.", samples=3,
        )  # fmt: skip
    assert [len(case.generated_candidates) for case in result.cases] == [3, 3]
    assert len(forwarder.answered) == len(forwarder.passages) == 6
    seeds = {(one.body["messages"][0]["content"], one.body["seed"]) for one in forwarder.passages}
    assert len(seeds) == 6
    assert result.progress.tokens["completion_tokens"] == sum(
        counted(one)[1] for one in answers(result)
    )


def judged(url: str, **sampling: Any) -> RunResult:
    """Return the run of a few answers and a judge of the same kind."""
    judge = openai_judge(
        MODEL_ID, base_url=url, api_key="none", api_mode="chat_completions",
        sampling={"temperature": 0, "max_output_tokens": 32, **sampling},
    )  # fmt: skip
    return experiment(
        generator(url),
        cases=Dataset(
            dataset_id="colours",
            cases=[Case(case_id=f"q{n}", input=f"Name a colour like {n}.") for n in range(2)],
        ),
        metrics=[use("builtin/llm_rubric", rubric="Does the answer name a colour?")],
        judges=[judge],
    ).run()


def test_a_judge_that_says_what_it_likes_gives_a_verdict_or_an_error_and_no_silent_zero(
    url: str,
) -> None:
    rows = list(judged(url).score_rows())
    assert len(rows) == 2
    for row in rows:
        assert (row.value is None) == (row.outcome == "error") == bool(row.error_message)


def test_a_judge_that_is_held_to_a_schema_gives_its_verdict(url: str) -> None:
    schema = {
        "type": "object",
        "properties": {"verdict": {"enum": ["PASS", "FAIL"]}},
        "required": ["verdict"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "v", "schema": schema}}
    result = judged(url, response_format=wanted)
    assert result.status is RunStatus.COMPLETED
    for case, row in zip(result.cases, result.score_rows(), strict=True):
        (execution,) = case.evaluation_executions
        (response,) = execution.responses.values()
        assert json.loads(response.text)["verdict"] == ("PASS" if row.value else "FAIL")
        assert response.token_usage is not None


def test_the_example_of_a_real_model_puts_three_runs_into_one_report(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run_example(1, tmp_path, base_url=url, model=MODEL_ID)
    assert list(results) == ["openai, responses", "openai, chat", "vllm, chat"]
    for result in results.values():
        assert result.status is RunStatus.COMPLETED
        assert [case.dataset_id for case in result.cases] == ["truthfulqa_mc1", "hellaswag"]
    told = capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    for label, result in results.items():
        prompt_tokens = result.progress.tokens["prompt_tokens"]
        assert prompt_tokens == sum(counted(answer)[0] for answer in answers(result))
        for report in (told, page):
            assert label in report
            assert str(prompt_tokens) in report


def test_the_demo_answers_both_prompts_and_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "examples.demo",
        "--out",
        str(tmp_path / "out é"),
        "--questions",
    ]
    for questions in ("2", "2", "3"):
        done = subprocess.run(
            [*command, questions], cwd=ROOT, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=170, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "report.html" in done.stdout
        assert f"{questions} questions of" in done.stdout
    assert (tmp_path / "out é" / "report.html").is_file()


def test_a_server_that_is_still_loading_is_asked_again() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Forwarder(f"http://127.0.0.1:{port}/v1", patience=60) as forwarder:
        loading = subprocess.Popen(
            [
                *(sys.executable, "-m", "examples.demo.local_model"),
                *("--port", str(port), "--slots", "1", "--threads", "1"),
            ],
            cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            # The server listens before it has read its weights; the first request waits at the
            # forwarder for it to listen, and so comes in between.
            result = ask(
                generator(forwarder.url, sampling={"max_output_tokens": 2}),
                QUESTION,
                generation_retry_attempts=12,
                generation_retry_delay=0.1,
            )
        finally:
            loading.terminate()
            loading.wait()
    assert result.status is RunStatus.COMPLETED
    statuses = [one.status for one in forwarder.passages]
    assert set(statuses[:-1]) == {503}
    assert statuses[-1] == 200


def test_a_run_that_was_killed_half_way_repeats_no_completed_request(
    url: str, tmp_path: Path
) -> None:
    cases, at_once = 24, 4
    with Forwarder(url) as forwarder:
        job = KilledRun(tmp_path, url=forwarder.url, cases=cases, at_once=at_once)
        job.start()

        def kill(answered: int) -> None:
            if answered == cases // 2:
                job.kill()

        forwarder.on_answer = kill
        assert job.wait() == -signal.SIGKILL
        forwarder.on_answer = None
        first = list(forwarder.passages)
        kept = job.kept()
        job.start()
        assert job.wait() == 0, job.said()
        second = forwarder.passages[len(first) :]
    answered = {question(one) for one in first if one.whole}
    asked_again = [question(one) for one in second]
    assert len(answered) >= cases // 2
    assert len(asked_again) == len(set(asked_again))
    assert kept <= answered
    # What was kept is never asked for again; what was answered and not yet kept was in flight.
    assert not kept & set(asked_again)
    assert len(answered & set(asked_again)) <= at_once
    assert set(asked_again) | kept == set(job.questions)
    assert all(one.whole and one.status == 200 for one in second)
    assert job.result() == {"status": "completed", "answers": cases}


def question(passage: Passage) -> str:
    """Return what a request asks."""
    return str(passage.body["messages"][-1]["content"])
