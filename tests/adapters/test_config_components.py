"""A config file names endpoints, graphs and functions; keys reach the endpoint and nothing else.

Covers: themis.experiment.config.component_specs, themis.experiment.config.file,
themis.experiment.queries
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.adapters.conftest import CHAT_ANSWER, Server
from tests.cli.conftest import command, environment
from themis import Experiment, Reporter, export_generation_bundle, sqlite_store
from themis.core.errors import ConfigError, DefinitionError
from themis.experiment.queries import snapshot_report

VARIABLE = "CONFIG_FILES_TEST_KEY"
KEYS = ["hunter2-zebra-crossing", "sk-proj-" + "aB3dE5gH7jK9mN1pQ" * 3]
CASE = {"case_id": "1", "input": "What is 2+2?", "expected_output": "four"}
CODE = """
def shout(prompt):
    return f"{prompt}!"

def built(case):
    return f"Q: {case.input}"

class Graph:
    def invoke(self, state):
        return {"answer": "four", "seen": state}

graph = Graph()
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a config beside a module of one's own."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "parts_of_config_files_test", raising=False)
    (tmp_path / "parts_of_config_files_test.py").write_text(CODE)

    def write(generator: Any, **evaluation: Any) -> Path:
        config = {
            "generation": {"generator": generator},
            "evaluation": {"metrics": ["builtin/exact_match"], **evaluation},
            "storage": {"store": "sqlite", "parameters": {"path": "runs.db"}},
            "datasets": [{"dataset_id": "d", "cases": [CASE]}],
            "runtime": {"generation_retry_attempts": 1, "judge_retry_attempts": 1},
            "seeds": [7],
        }
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    return write


def answer_of(path: Path) -> Any:
    result = Experiment.from_config(path).run(progress=False)
    (case,) = result.cases
    assert case.generation_failures == []
    return case.generated_candidates[0].final_output


def header(asked: dict[str, Any], name: str) -> str | None:
    return {key.lower(): value for key, value in asked["headers"].items()}.get(name)


def refused(path: Path) -> str:
    with pytest.raises(DefinitionError) as caught:
        Experiment.from_config(path).compile()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("adapter", ["openai", "vllm"])
@pytest.mark.parametrize(
    ("mode", "end"), [("responses", "/v1/responses"), ("chat_completions", "/v1/chat/completions")]
)
def test_a_config_names_an_endpoint(
    server: Server, written: Any, adapter: str, mode: str, end: str
) -> None:
    spec = {
        "use": adapter,
        "model": "m",
        "base_url": server.url,
        "api_key": f"env:{VARIABLE}",
        "api_mode": mode,
        "sampling": {"temperature": 0, "max_output_tokens": 5},
        "input_builder": "parts_of_config_files_test:built",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, KEYS[0])
        assert answer_of(written(spec)) == "four"
    (asked,) = server.requests
    assert asked["path"] == end
    assert asked["body"]["temperature"] == 0
    assert "Q: What is 2+2?" in str(asked["body"])
    assert header(asked, "authorization") == f"Bearer {KEYS[0]}"


def test_a_config_names_a_judge_behind_an_endpoint(server: Server, written: Any) -> None:
    said = {**CHAT_ANSWER["choices"][0]["message"], "content": "VERDICT: PASS"}  # type: ignore[index]
    server.says(
        {**CHAT_ANSWER, "choices": [{"index": 0, "finish_reason": "stop", "message": said}]}
    )
    judge = {
        "use": "openai_judge",
        "model": "j",
        "base_url": server.url,
        "api_mode": "chat_completions",
        "client_options": {"headers": {"X-Auth-Token": f"Bearer env:{VARIABLE}"}},
    }
    rubric = {"use": "builtin/llm_rubric", "params": {"rubric": "Is it right?"}, "name": "judged"}
    path = written("builtin/demo_generator", metrics=[rubric], judge_models=[judge])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, KEYS[0])
        result = Experiment.from_config(path).run(progress=False)
    assert result.metrics["judged"].mean == 1
    assert server.requests[0]["body"]["model"] == "j"
    assert header(server.requests[0], "x-auth-token") == f"Bearer {KEYS[0]}"


def test_a_config_names_an_endpoint_of_ones_own(server: Server, written: Any) -> None:
    spec = {
        "use": "http",
        "url": f"{server.url}/ask?key=env:{VARIABLE}",
        "body": {"question": "{{ input }}", "auth": {"token": f"env:{VARIABLE}"}},
        "answer": "output[1].content[0].text",
        "headers": {"X-Team": "evals"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, KEYS[0])
        assert answer_of(written(spec)) == "fo"
    (asked,) = server.requests
    assert asked["body"] == {"question": CASE["input"], "auth": {"token": KEYS[0]}}
    assert asked["path"].endswith(f"/ask?key={KEYS[0]}")


def test_a_config_names_a_function_and_a_graph(written: Any) -> None:
    function = {"use": "function", "callable": "parts_of_config_files_test:shout", "version": "1"}
    assert answer_of(written(function)) == "What is 2+2?!"
    graph = {
        "use": "langgraph",
        "graph": "parts_of_config_files_test:graph",
        "graph_id": "g",
        "output_key": "answer",
    }
    assert answer_of(written(graph)) == "four"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"use": "openai", "modle": "m"}, "openai has no param 'modle'; did you mean 'model'?"),
        ({"use": "http", "ulr": "x"}, "http has no param 'ulr'; did you mean 'url'?"),
        ({"use": "http", "url": "http://x", "body": {}}, "http needs the param 'answer'"),
        ({"use": "function", "calable": "a:b"}, "did you mean 'callable'?"),
        ({"use": "function", "callable": "shout"}, "callable = 'shout' is no import path"),
        ({"use": "function", "callable": "parts_of_config_files_test:shuot"},
            "did you mean 'shout'?"),
        ({"use": "langgraph", "graph": "not_there:graph", "graph_id": "g"},
            "there is no module 'not_there'"),
        ({"use": "opnai", "model": "m"}, "did you mean 'openai'?"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_the_nearest(
    written: Any, spec: Any, said: str
) -> None:
    assert said in refused(written(spec))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "spec",
    [
        {"use": "openai", "model": "m", "api_key": "KEY"},
        {"use": "openai", "model": "m", "api_key": {"value": "KEY"}},
        {"use": "openai", "model": "m", "api_key": "env:KEY"},
        {"use": "openai", "model": "m", "client_options": {"headers": {"X-Api-Key": "KEY"}}},
        {"use": "openai", "model": "m", "client_options": {"proxy": "http://u:KEY@host:1"}},
        {"use": "openai", "model": "m", "sampling": {"password": "KEY"}},
        {"use": "http", "url": "http://x/?api_key=KEY", "body": {}, "answer": "a"},
        {"use": "http", "url": "http://x", "body": {"token": "KEY"}, "answer": "a"},
        {"use": "somewhere:thing", "params": {"deep": [{"api_key": "KEY"}]}},
        {"use": "builtin/demo_generator", "params": {"password": "KEY"}},
    ],
)
def test_a_key_that_is_written_out_is_refused_wherever_it_stands_and_not_shown(
    written: Any, spec: Any, key: str
) -> None:
    filled = yaml.safe_load(yaml.safe_dump(spec).replace("KEY", key))
    assert key not in refused(written(filled))


@pytest.mark.parametrize(
    "place",
    [
        ("environment_metadata", {"note": "KEY"}),
        ("datasets", [{"dataset_id": "d", "cases": [CASE], "metadata": {"from": ["KEY"]}}]),
        ("datasets", [{"dataset_id": "d", "cases": [{**CASE, "metadata": {"x": "KEY"}}]}]),
        ("storage", {"store": "sqlite", "parameters": {"path": "KEY"}}),
        ("evaluation", {"judge_config": {"x": {"y": "KEY"}}}),
        ("evaluation", {"metrics": ["builtin/exact_match"],
            "workflow_overrides": {"builtin/exact_match": {"x": "KEY"}}}),
        ("evaluation", {"metrics": [{"use": "builtin/llm_rubric", "params": {"rubric": "KEY"}}],
            "judge_models": ["builtin/demo_judge"]}),
        ("runtime", {"provider_concurrency": {"KEY": 1}}),
    ],
)  # fmt: skip
def test_a_value_like_a_key_is_refused_anywhere_in_a_config(written: Any, place: Any) -> None:
    path = written("builtin/demo_generator")
    data = yaml.safe_load(path.read_text())
    section, value = place
    data[section] = yaml.safe_load(yaml.safe_dump(value).replace("KEY", KEYS[1]))
    path.write_text(yaml.safe_dump(data))
    said = refused(path)
    assert section in said
    assert "looks like a secret" in said
    assert KEYS[1] not in said


def test_a_benchmark_and_a_prompt_may_be_about_keys(written: Any) -> None:
    path = written("builtin/demo_generator")
    data = yaml.safe_load(path.read_text())
    case = {"case_id": "1", "input": f"Is {KEYS[1]} a key?", "expected_output": {"key": KEYS[1]}}
    data["datasets"] = [{"dataset_id": "d", "cases": [case]}]
    data["generation"]["prompt_spec"] = {"instructions": f"The secret is {KEYS[1]}. Keep it."}
    path.write_text(yaml.safe_dump(data))
    assert Experiment.from_config(path).run(progress=False).cases[0].generation_failures == []


def test_a_stores_password_comes_from_the_environment(written: Any, tmp_path: Path) -> None:
    path = written("builtin/demo_generator")
    data = yaml.safe_load(path.read_text())
    data["storage"] = {"store": "remote", "parameters": {"url": f"env:{VARIABLE}", "at": ["x"]}}
    path.write_text(yaml.safe_dump(data))
    url = f"postgres://evals:{KEYS[0]}@db/runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, url)
        storage = Experiment.from_config(path).storage
    assert storage.parameters == {"url": url, "at": ["x"]}
    assert KEYS[0] not in repr(storage)
    with pytest.raises(ConfigError, match=f"environment variable {VARIABLE} is not set"):
        Experiment.from_config(path)


def test_certificates_are_looked_for_beside_the_config(written: Any, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    options = {"verify": "ca.pem"}
    path = written({"use": "openai", "model": "m", "client_options": options})
    made: Any = Experiment.from_config(path).generation.generator
    assert made.params["client_options"] == {"verify": str(tmp_path / "ca.pem")}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("status", [200, 401])
def test_a_key_by_reference_is_in_no_store_output_report_or_bundle(
    server: Server, written: Any, tmp_path: Path, key: str, status: int
) -> None:
    """The endpoint says the key back wherever it can: in headers, in its answer, in an error."""
    message = {"role": "assistant", "content": f"Your key is {key}, isn't it?"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    told = {**CHAT_ANSWER, "choices": [choice], "echo": {"authorization": f"Bearer {key}"}}
    failure = {"error": {"message": f"Incorrect API key provided: {key}.", "code": "invalid"}}
    server.says(told if status == 200 else failure, status, x_echo=key, x_request_id="r-1")
    path = written(
        {
            "use": "openai",
            "model": "m",
            "base_url": server.url,
            "api_mode": "chat_completions",
            "api_key": f"env:{VARIABLE}",
            "client_options": {"headers": {"X-Key": f"env:{VARIABLE}"}},
        }
    )
    shown = b""
    for words in (("--debug", "run", "--config", path, "--progress"), ("preview", "-c", path)):
        done = subprocess.run(
            command(*words),
            cwd=tmp_path,
            env=environment(**{VARIABLE: key}),
            capture_output=True,
            timeout=120,
            check=False,
        )
        shown += done.stdout + done.stderr
    assert [header(one, "x-key") for one in server.requests] == [key]
    kept = b"".join(one.read_bytes() for one in tmp_path.glob("runs.db*"))
    assert b"What is 2+2?" in kept
    store = sqlite_store(tmp_path / "runs.db")
    (run,) = store.runs()
    reporter = Reporter(store)
    told_of = [reporter.render(run.run_id, form) for form in reporter.formats]
    told_of += [str(snapshot_report(store.load_snapshot(run.run_id)))]
    told_of += [str(event) for event in store.events(run.run_id)]
    if status == 200:
        told_of.append(export_generation_bundle(store, run.run_id).data.decode())
    store.close()
    for where in (shown, kept, "\n".join(told_of).encode()):
        assert key.encode() not in where
    if status == 200:
        assert "Your key is [hidden], isn't it?" in "\n".join(told_of)
