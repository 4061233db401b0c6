"""The metrics that run code: what program they make of an answer, and what its end counts as.

Covers: themis.adapters.function, themis.catalog.metrics.code, themis.catalog.registry,
themis.catalog.sandbox.local, themis.catalog.sandbox.program
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks.humaneval import by_the_package, problems, variants
from tests.catalog.sandbox.endpoints import CodeServer
from tests.support.lacking import lacking
from themis import evaluate, use
from themis.adapters import function
from themis.catalog.metrics.code import CodeMetric, HumanEvalPassRate, completed
from themis.catalog.registry import make
from themis.catalog.sandbox.local import LocalSandbox
from themis.catalog.sandbox.program import SandboxError
from themis.core.config import StorageConfig
from themis.core.contexts import ScoreContext
from themis.core.errors import DefinitionError
from themis.core.models import Case, ParsedOutput, Score, ScoreError

MEMORY = StorageConfig(store="memory")
PROBLEM = {
    "prompt": 'import math\n\n\ndef area(r):\n    """Return a circle\'s area."""\n',
    "test": "def check(candidate):\n    assert candidate(0) == 0\n    assert candidate(1) > 3\n",
    "entry_point": "area",
}
TESTS = [{"input": "1 2\n", "output": "3\n"}, {"input": "5 7\n", "output": "12\n"}]
SUM = "print(sum(map(int, input().split())))"

Scored = Callable[..., Any]


@pytest.fixture(scope="module")
def works() -> None:
    """Skip where no sandbox works at all, saying why."""
    try:
        assert LocalSandbox().isolation
    except SandboxError as error:
        lacking(
            "let this user make namespaces" if shutil.which("bwrap") else "install bubblewrap",
            str(error),
        )


@pytest.fixture
def scored(works: None, score_context: Callable[[Case], ScoreContext]) -> Scored:
    async def score(metric: str, code: Any, case: Case, **params: Any) -> Score | ScoreError:
        made, _ = make(use(metric, **params), "metric")
        assert isinstance(made, CodeMetric)
        return await made.score(ParsedOutput(value=code), case, score_context(case))

    return score


def humaneval(**more: Any) -> Case:
    return Case(case_id="one", input="", expected_output={**PROBLEM, **more})


@pytest.mark.parametrize(
    ("completion", "value", "reason"),
    [
        ("    return math.pi * r * r\n", 1.0, "passed"),
        ("def area(r):\n    return math.pi * r * r\n", 1.0, "passed"),
        (
            "import sys\n\ndef half(r):\n    return 0\n\ndef area(r):\n    return 4 * r",
            1.0,
            "passed",
        ),
        ("    return half(r) * 2\n\ndef half(r):\n    return 2 * r", 1.0, "passed"),
        ("    return 0", 0.0, "assertion"),
        ("return 4 * r", 0.0, "exception"),
        ("", 0.0, "assertion"),
        ("    return half(r)", 0.0, "exception"),
        ("    import sys; sys.exit(0)", 0.0, "exit"),
        ("    pass\nimport os; os._exit(0)", 0.0, "exit"),
        ("    return 4 * r\nif __name__ == '__main__': raise ValueError", 1.0, "passed"),
    ],
)
async def test_a_completion_is_a_body_or_a_whole_function(
    scored: Scored, completion: str, value: float, reason: str
) -> None:
    score = await scored("builtin/humaneval_pass_rate", completion, humaneval())
    assert isinstance(score, Score)
    assert (score.value, score.details["reason"]) == (value, reason), score
    assert score.details["isolation"] in ("bubblewrap", "namespaces", "rlimits")


def test_only_a_whole_function_is_moved_to_a_line_of_its_own() -> None:
    assert completed("def f(x):\n    ", "return 1", "f") == "def f(x):\n    return 1"
    assert completed("def f(x): ...", "def f(x): return 1", "f").splitlines()[1:] == [
        "def f(x): return 1"
    ]
    assert completed("def f(x):\n    ", "return fact(1)\ndef fact(x): 1", "f").count("\n") == 2


async def test_a_problem_is_found_in_expected_output_metadata_or_input(scored: Scored) -> None:
    rest = {name: PROBLEM[name] for name in ("test", "entry_point")}
    for case in (
        Case(case_id="a", input=PROBLEM["prompt"], expected_output=rest),
        Case(case_id="b", input=PROBLEM["prompt"], metadata=rest),
        Case(case_id="c", input=PROBLEM),
        Case(case_id="d", input={"question": "?"}, metadata=PROBLEM),
    ):
        score = await scored("builtin/humaneval_pass_rate", "    return 4 * r", case)
        assert score.value == 1, case


@pytest.mark.parametrize(
    ("metric", "code", "case", "says"),
    [
        ("humaneval", "x", Case(case_id="one", input="x"), "no text 'test'"),
        ("humaneval", "x", humaneval(entry_point="os.abort"), "no function's name"),
        ("humaneval", 4, humaneval(), 'parser="builtin/code_text"'),
        ("stdio", "x", Case(case_id="one", input="x"), "no list of tests"),
        ("stdio", "x", Case(case_id="one", input="x", expected_output=[]), "no list of tests"),
        (
            "stdio",
            "x",
            Case(case_id="one", input="x", expected_output=[*TESTS, {"input": "1"}]),
            "no list of tests",
        ),
        (
            "stdio",
            "x",
            Case(case_id="one", input="x", expected_output={"inputs": ["1"], "outputs": []}),
            "no list of tests",
        ),
        ("assert", "x", Case(case_id="one", input="x"), "no test_list"),
        ("assert", "x", Case(case_id="one", input="x", expected_output=[4]), "no test_list"),
    ],
)
async def test_a_case_without_tests_is_an_error_that_says_what_is_missing(
    scored: Scored, metric: str, code: Any, case: Case, says: str
) -> None:
    found = await scored(f"builtin/{metric}_pass_rate", code, case)
    assert isinstance(found, ScoreError)
    assert says in found.reason
    assert "case 'one'" in found.reason


async def test_assertions_run_after_the_set_up_and_the_code(scored: Scored) -> None:
    expected = {"test_list": ["assert f(2) == 4 + ZERO", "assert f(0) == 0"]}
    metadata = {"test_setup_code": "ZERO = 0", "test_imports": ["import math"]}
    case = Case(case_id="one", input="x", expected_output=expected, metadata=metadata)
    right = await scored("builtin/assert_pass_rate", "def f(x): return int(math.pow(x, 2))", case)
    wrong = await scored("builtin/assert_pass_rate", "def f(x): return x + 2", case)
    assert (right.value, wrong.value) == (1, 0)
    assert wrong.details["reason"] == "assertion"


@pytest.mark.parametrize(
    "expected",
    [TESTS, {"tests": TESTS}, {"inputs": ["1 2", "5 7"], "outputs": ["3", "12"]}],
)
async def test_a_program_is_run_once_for_each_input(scored: Scored, expected: Any) -> None:
    case = Case(case_id="one", input="x", expected_output=expected)
    score = await scored("builtin/stdio_pass_rate", SUM, case)
    assert score.value == 1
    assert {**score.details, "isolation": ""} == {
        "reason": "passed",
        "isolation": "",
        "passed": 2,
        "tests": 2,
    }


@pytest.mark.parametrize(
    ("code", "reason", "test"),
    [
        ("print(3)", "wrong_output", 2),
        ("print(4)", "wrong_output", 1),
        ("import sys\nprint(3)\nsys.exit(1)", "exit", 1),
        ("import os\nprint(3)\nos._exit(0)", "wrong_output", 1),
        ("import os\nprint(3, flush=True)\nos._exit(0)", "wrong_output", 2),
        ("import os\nprint(3, flush=True)\nos.abort()", "signal", 1),
        ("print(3)\n1/0", "exception", 1),
        ("assert False", "assertion", 1),
    ],
)
async def test_the_first_test_that_is_not_passed_is_told(
    scored: Scored, code: str, reason: str, test: int
) -> None:
    case = Case(case_id="one", input="x", expected_output=TESTS)
    score = await scored("builtin/stdio_pass_rate", code, case)
    assert score.value == 0
    assert (score.details["reason"], score.details["test"]) == (reason, test), score


async def test_the_share_of_tests_passed_is_given_where_it_is_asked_for(scored: Scored) -> None:
    case = Case(case_id="one", input="x", expected_output=[*TESTS, TESTS[0], TESTS[0]])
    score = await scored("builtin/stdio_pass_rate", "print(3)", case, partial=True)
    assert (score.value, score.details["passed"], score.details["tests"]) == (0.75, 3, 4)
    assert make(use("builtin/stdio_pass_rate", partial=True), "metric")[0].kind == "value"


@pytest.mark.parametrize(
    ("written", "lines", "tokens", "exact"),
    [
        ("3\n", 1, 1, 1),
        ("3", 1, 1, 0),
        ("3  \n\n", 1, 1, 0),
        ("  3\n", 0, 1, 0),
        ("3 3", 0, 0, 0),
        ("3\x0c\n", 1, 1, 0),
        ("", 0, 0, 0),
    ],
)
async def test_what_white_space_matters_is_said_by_compare(
    scored: Scored, written: str, lines: int, tokens: int, exact: int
) -> None:
    case = Case(case_id="one", input="x", expected_output=TESTS[:1])
    for compare, value in (("lines", lines), ("tokens", tokens), ("exact", exact)):
        code = f"print({written!r}, end='')"
        score = await scored("builtin/stdio_pass_rate", code, case, compare=compare)
        assert score.value == value, compare


async def test_only_a_line_feed_ends_a_line(scored: Scored) -> None:
    tests = [{"input": "", "output": "3\n4\n"}]
    case = Case(case_id="one", input="x", expected_output=tests)
    for between, value in (("\n", 1), ("\r\n", 1), ("\x0c", 0), ("\u2028", 0), ("\x85", 0)):
        code = f"import sys\nsys.stdout.buffer.write({('3' + between + '4').encode()!r})"
        score = await scored("builtin/stdio_pass_rate", code, case)
        assert score.value == value, between


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"timeout": 0}, "above 0"),
        ({"timeout": "3"}, "number of seconds"),
        ({"memory_mb": 1}, "at least 64"),
        ({"isolation": "docker"}, '"bubblewrap"'),
        ({"api": "piston"}, "left out"),
        ({"sandbox": "http://localhost:2000"}, '"piston" or "sandbox_fusion"'),
        ({"sandbox": "localhost:2000", "api": "piston"}, "an address"),
        ({"sandbox": "http://a:b@localhost", "api": "piston"}, "an address"),
        ({"sandbox": "http://h", "api": "piston", "isolation": "rlimits"}, "chooses its own"),
        ({"at_once": 0}, "at least 1"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(params: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        make(use("builtin/humaneval_pass_rate", **params), "metric")


def test_how_many_run_at_once_is_no_part_of_the_fingerprint() -> None:
    assert HumanEvalPassRate(at_once=3).fingerprint() == HumanEvalPassRate().fingerprint()
    assert HumanEvalPassRate(timeout=4).fingerprint() != HumanEvalPassRate().fingerprint()


# ── The whole way ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["piston", "sandbox_fusion"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[tuple[CodeServer, str]]:
    with CodeServer() as server:
        yield server, request.param


def answered(model: Any, metric: Any) -> Any:
    data = [
        {"case_id": str(index), "input": str(index), "expected_output": PROBLEM}
        for index in range(3)
    ]
    parser = "builtin/code_text"
    return evaluate(model=model, data=data, metric=metric, parser=parser, storage=MEMORY)


def model(text: str) -> str:
    """Answer with a whole function in a fence, wrong for one case."""
    return (
        f"Here it is:\n```python\ndef area(r):\n    return {'4 * r' if text != '1' else '0'}\n```"
    )


@pytest.mark.network
def test_an_endpoint_scores_a_run(endpoint: tuple[CodeServer, str]) -> None:
    server, api = endpoint
    metric = use("builtin/humaneval_pass_rate", sandbox=server.url, api=api)
    result = answered(function(model, version="1"), metric)
    rows = {row.case_id: row for row in result.score_rows()}
    assert [rows[one].outcome for one in "012"] == ["correct", "incorrect", "correct"]
    assert rows["1"].details == {
        "reason": "assertion",
        "isolation": api,
        "message": "AssertionError",
    }


@pytest.mark.network
def test_an_endpoint_that_is_down_makes_errors_and_nothing_incorrect() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        metric = use("builtin/humaneval_pass_rate", sandbox=url, api="piston")
        result = answered(function(model, version="1"), metric)
    assert [row.outcome for row in result.score_rows()] == ["error"] * 3
    assert result.status == "partial_failure"
    assert result.metrics["builtin/humaneval_pass_rate"].n_errors == 3


@pytest.mark.slow
def test_humanevals_own_problems_end_as_its_own_checker_says(works: None) -> None:
    found = problems()[:40:8]
    forms = [variants(one) for one in found]
    for form in forms[0]:
        said = {one["prompt"]: forms[index][form] for index, one in enumerate(found)}
        theirs = by_the_package(found, list(said.values()))

        def complete(prompt: str, said: dict[str, str] = said) -> str:
            return said[prompt]

        result = evaluate(
            model=function(complete, version="1", fingerprint=form),
            data=[
                {"case_id": one["task_id"], "input": one["prompt"], "metadata": one}
                for one in found
            ],
            metric="builtin/humaneval_pass_rate",
            parser="builtin/code_text",
            storage=MEMORY,
        )
        ours = {row.case_id: row.value for row in result.score_rows()}
        assert ours == {
            one["task_id"]: float(right) for one, right in zip(found, theirs, strict=True)
        }
        assert all(theirs) == (form == "canonical")
