"""A second opinion: llmock, another's mock of the OpenAI API, which judges its clients.

Covers: themis.adapters.model_apis.endpoint_generator,
themis.adapters.model_apis.sampling
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.endpoints.questions import questions
from tests.support.runs import experiment
from themis.adapters import openai
from themis.core.errors import RunStoppedError

pytestmark = pytest.mark.network


class Mock:
    """A running ``llmock serve``."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"

    def tell(self, path: str, body: Any = None) -> Any:
        """Call its control API."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.root}/_llmock/{path}", data, timeout=30) as answer:
            return json.load(answer)

    def model(self, api_mode: str, *, stream: bool = False, **sampling: Any) -> Any:
        return openai(
            "gpt-4o", base_url=f"{self.root}/v1", api_key="key", api_mode=api_mode,
            sampling=sampling, stream=stream,
        )  # fmt: skip

    def verdict(self) -> dict[str, Any]:
        """Return what it makes of its clients so far."""
        found: dict[str, Any] = self.tell("verdict")
        return found


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Mock]:
    """Start the server as a user would, on a port of its choice."""
    log = folder / "llmock.log"
    command = [
        sys.executable, "-c", "from llmock.cli import app; app()",
        "serve", "--port", "0", "--response-style", "echo", *options,
    ]  # fmt: skip
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while (said := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield Mock(int(said[1]))
    finally:
        process.terminate()
        process.wait(timeout=30)


def _fail(status: int, times: int, **more: Any) -> dict[str, Any]:
    return {"type": "fail", "status": status, "times": times, **more}


@pytest.mark.parametrize("api_mode", ["chat_completions", "responses"])
def test_errors_are_met_as_another_thinks_right(tmp_path: Path, api_mode: str) -> None:
    with serving(tmp_path) as mock:
        mock.tell("scenario", {"behaviors": [
            _fail(429, 3, retry_after=0.3), _fail(500, 4), _fail(503, 2, retry_after=0.1),
            _fail(502, 2), _fail(408, 1), _fail(409, 1), _fail(400, 1),
        ]})  # fmt: skip
        result = experiment(
            mock.model(api_mode),
            cases=questions(60),
            generation_retry_attempts=9,
            generation_retry_delay=0.06,
        ).run()
        verdict = mock.verdict()
    assert verdict["errors"] == 0, verdict["findings"]
    failures = [case.generation_failures for case in result.cases if case.generation_failures]
    assert [[failure.status for failure in one] for one in failures] == [[400]]
    tried = sum(
        len((candidate.artifacts or {}).get("tries", []))
        for case in result.cases
        for candidate in case.generated_candidates
    )
    tried += sum(max(0, len(one.tries) - 1) for failed in failures for one in failed)
    assert (verdict["calls"], verdict["attempts"]) == (60, 60 + tried)
    assert verdict["faults_injected"] == tried + 1 == 14


@pytest.mark.parametrize("api_mode", ["chat_completions", "responses"])
def test_a_stream_that_breaks_off_is_no_answer(tmp_path: Path, api_mode: str) -> None:
    faults = [
        {"type": "stream_fault", "kind": kind, "after_chunks": 2, "stall_seconds": 9.0, "times": 2}
        for kind in ("disconnect", "truncate", "malformed", "stall")
    ]
    with serving(tmp_path) as mock:
        mock.tell("scenario", {"behaviors": faults})
        result = experiment(
            mock.model(api_mode, stream=True),
            cases=questions(30),
            generation_timeout=3.0,
            generation_retry_delay=0.06,
        ).run()
        verdict = mock.verdict()
    assert result.status == "completed"
    assert (verdict["errors"], verdict["faults_injected"]) == (0, 8), verdict["findings"]
    assert verdict["attempts"] == 38
    said = {case.generated_candidates[0].final_output for case in result.cases}
    assert len(said) == 30


def test_a_quota_of_tokens_is_waited_for_as_long_as_the_server_says(tmp_path: Path) -> None:
    # A bucket of 6000 tokens that gets 100 a second: the last calls must wait for their turn.
    with serving(tmp_path, "--tpm", "6000") as mock:
        result = experiment(
            mock.model("chat_completions", max_output_tokens=230),
            cases=questions(25),
            generation_retry_attempts=9,
        ).run()
        verdict = mock.verdict()
        requests = mock.tell("requests")["requests"]
    assert result.status == "completed"
    assert verdict["findings"] == []
    assert 429 in {one["status"] for one in requests}
    headers = (result.cases[0].generated_candidates[0].artifacts or {})["rate_limit"]
    assert headers["limit_tokens"] == "6000"


def test_a_wrong_key_ends_the_run_and_nothing_is_tried_again(tmp_path: Path) -> None:
    with serving(tmp_path) as mock:
        mock.tell("scenario", {"behaviors": [_fail(401, 99)]})
        with pytest.raises(RunStoppedError, match="401"):
            experiment(mock.model("chat_completions"), cases=questions(40)).run()
        verdict = mock.verdict()
    assert verdict["findings"] == []
    assert verdict["attempts"] <= 8
