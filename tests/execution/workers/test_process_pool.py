"""Components that are cpu_bound run in worker processes, and what goes wrong there stays there.

Covers: themis.execution.workers, themis.execution.workers.main, themis.execution.workers.process,
themis.execution.workers.process_pool, themis.planning.sendable
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.heavy import (
    AsyncMetric,
    HeavyJudged,
    HeavyMetric,
    HeavyParser,
    HeldMetric,
    HurriedMetric,
    LongReader,
)
from tests.support.lacking import lacking
from tests.support.runs import experiment
from tests.support.until import steps_done, until
from themis import RunResult, use
from themis.core import contexts
from themis.core.errors import DefinitionError
from themis.core.events import Stage
from themis.core.models import Case, Dataset
from themis.execution.workers import process as worker_process
from themis.testing.scripted import CountingMetric, ScriptedGenerator, ScriptedJudge

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="counts processes by POSIX means")


def _ps(*how: str) -> str:
    """Return what ps lists."""
    if shutil.which("ps") is None:
        lacking("install procps", "ps tells which processes there are")
    return subprocess.run(["ps", *how], capture_output=True, text=True, check=False).stdout


def _children() -> list[int]:
    """Return the processes that this one has started and that are still there, zombies too."""
    rows = [line.split(None, 2) for line in _ps("-o", "pid=,ppid=,comm=", "-A").splitlines()]
    return [int(pid) for pid, parent, name in rows if int(parent) == os.getpid() and name != "ps"]


def _data(*inputs: Any) -> Dataset:
    return Dataset(
        dataset_id="data",
        cases=[Case(case_id=f"c{n}", input=one, expected_output=n) for n, one in enumerate(inputs)],
    )


def _rows(result: RunResult) -> dict[str, Any]:
    return {row.case_id: row for row in result.score_rows()}


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Any:
    before = _children()
    threads = threading.active_count()
    yield
    assert _children() == before
    assert threading.active_count() <= threads + 1  # a daemon thread for calls may be idle yet


def test_a_thousand_calls_through_two_workers_are_right_and_load_each_once(tmp_path: Path) -> None:
    metric = HeavyMetric(folder=tmp_path)
    one = experiment(cases=_data(*range(1000)), metrics=[metric], cpu_workers=2)
    here = len(list(tmp_path.iterdir()))
    result = one.run()
    rows = _rows(result)
    assert [rows[f"c{n}"].value for n in range(1000)] == [float(n % 2 == 0) for n in range(1000)]
    assert [rows[f"c{n}"].details["seen"][::2] for n in range(1000)] == [
        [f"c{n}", n] for n in range(1000)
    ]
    processes = {row.details["process"] for row in rows.values()}
    assert len(processes) == 2
    assert os.getpid() not in processes
    loaded = [one for one in tmp_path.iterdir() if f"-{os.getpid()}-" not in one.name]
    assert sorted(int(one.name.split("-")[1]) for one in loaded) == sorted(processes)
    assert here <= 1  # compile tries it out, here, and that is all


def test_nothing_is_started_where_nothing_is_cpu_bound_or_nothing_is_left_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []
    whole = worker_process._start

    def start() -> Any:
        started.append(1)
        return whole()

    monkeypatch.setattr(worker_process, "_start", start)
    experiment(metrics=[CountingMetric()]).run()
    assert started == []
    one = experiment(cases=_data(0, 2), metrics=[HeavyMetric()], cpu_workers=1)
    one.run()
    assert len(started) == 1
    one.run()
    assert len(started) == 1


@pytest.mark.parametrize(
    ("kind", "category", "said"),
    [
        ("sigkill", "crash", r"heavy: its worker process was killed by signal 9 \(SIGKILL\)"),
        ("segfault", "crash", r"killed by signal 11 \(SIGSEGV\)"),
        ("exit", "crash", "its worker process ended with exit code 7"),
        ("sysexit", "crash", r"it tried to exit its worker process \(SystemExit: no more\)"),
        ("memory", "crash", "its worker process ran out of memory"),
        ("raise", "scoring", "heavy: 1 and 2"),
        ("timeout", "timeout", "heavy: its own"),
        ("unsendable", "scoring", "function was returned, which cannot be pickled"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_an_error_of_that_case_only(
    kind: str, category: str, said: str
) -> None:
    inputs = [2, 4, kind, 6, 8, kind, 10]
    result = experiment(cases=_data(*inputs), metrics=[HeavyMetric()], cpu_workers=2).run()
    assert result.status == "partial_failure"
    rows = _rows(result)
    bad = {row.error_category for row in rows.values() if row.outcome == "error"}
    assert bad == {category}
    assert [n for n in range(7) if rows[f"c{n}"].outcome == "error"] == [2, 5]
    assert re.search(said, rows["c2"].error_message)


@pytest.mark.parametrize("kind", ["loop", "stuck"])
def test_a_call_that_hangs_is_ended_and_costs_its_case_only(kind: str) -> None:
    inputs = [2, kind, 4, 6, 8]
    one = experiment(cases=_data(*inputs), metrics=[HurriedMetric()], cpu_workers=1)
    rows = _rows(one.run())
    assert [n for n in range(5) if rows[f"c{n}"].outcome == "error"] == [1]
    assert rows["c1"].error_category == "timeout"
    assert "no answer within 1 s; its worker process was ended" in rows["c1"].error_message


@pytest.mark.parametrize("kind", ["fork", "print"])
def test_a_fork_and_what_is_printed_do_not_garble_answers(kind: str) -> None:
    inputs = [kind, 2, kind, 4, kind, 6]
    result = experiment(cases=_data(*inputs), metrics=[HeavyMetric()], cpu_workers=1).run()
    assert [row.value for row in _rows(result).values()] == [1.0] * 6
    assert len({row.details["process"] for row in _rows(result).values()}) == 1


def test_what_a_dead_worker_had_started_is_ended_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "child"
    monkeypatch.setenv("HEAVY_CHILD", str(told))
    rows = _rows(experiment(cases=_data("children", 2), metrics=[HeavyMetric()]).run())
    assert (rows["c0"].error_category, rows["c1"].value) == ("crash", 1.0)
    child = int(told.read_text())
    assert not _is_alive(str(child))  # who reaps it is not us


def test_an_exception_comes_back_with_its_traceback() -> None:
    result = experiment(cases=_data("raise"), metrics=[HeavyMetric()]).run()
    failure = result.cases[0].evaluation_failures[0]
    assert failure.cause == "OddError"
    assert "in deep_inside" in failure.traceback
    assert "themis/execution" not in failure.traceback


def test_a_parser_in_a_worker_fails_as_it_would_here() -> None:
    outputs = [1, "parse error", "sigkill", 2]
    generator = ScriptedGenerator(lambda case, ctx: case.input)
    result = experiment(generator, cases=_data(*outputs), parser=HeavyParser("p")).run()
    cases = {case.case_id: case for case in result.cases}
    assert cases["c0"].parsed_output.value == 1
    assert cases["c0"].parsed_output.metadata["process"] != os.getpid()
    error = cases["c1"].parse_error
    assert (error.category, error.message) == ("parse_failure", "two answers")
    assert cases["c2"].parse_error.category == "parse_failure"  # it was that output, each time
    assert "killed by signal 9" in cases["c2"].parse_error.message
    assert cases["c3"].parsed_output.value == 2
    assert result.status == "completed"


def test_long_answers_go_to_a_worker_and_short_ones_do_not() -> None:
    short = ["a" * 100, [1] * 99, {"a": ["b" * 97]}]
    long = ["a" * 101, [1] * 100, {"a": ["b" * 99]}, [[[["a" * 97]]]]]
    generator = ScriptedGenerator(lambda case, ctx: case.input)
    data = _data(*short, *long)
    result = experiment(generator, cases=data, parser=LongReader("p"), cpu_workers=1).run()
    found = [case.parsed_output.metadata["process"] == os.getpid() for case in result.cases]
    assert found == [True] * 3 + [False] * 4


@pytest.mark.parametrize(
    ("part", "as_parser"),
    [
        ("builtin/choice_letter", True),
        ("builtin/code_text", True),
        ("builtin/mmlu_pro", True),
        ("builtin/chrf", False),
        ("builtin/numeric", False),
        ("builtin/exact_match", False),
    ],
)
def test_shipped_parts_read_long_answers_in_a_worker(
    part: str, as_parser: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    whole = worker_process._start

    def start() -> Any:
        started.append(None)
        return whole()

    monkeypatch.setattr(worker_process, "_start", start)
    parts: Any = {"parser": use(part)} if as_parser else {"metrics": [use(part)]}
    for answer, expected in (("A " * 5_000, 0), ("A " * 5_001, 1)):
        generator = ScriptedGenerator(lambda case, ctx, answer=answer: answer)
        experiment(generator, cases=_data("?"), **parts).run()
        assert len(started) == expected


def test_a_crash_is_tried_again_by_the_next_run() -> None:
    one = experiment(cases=_data(2, "sigkill"), metrics=[HeavyMetric()])
    assert one.run().status == "partial_failure"
    store = one.store
    assert one.run().status == "partial_failure"
    failed = [event for event in store.events(one.compile().run_id) if event.kind == "step_failed"]
    assert len(failed) == 2


def test_workflow_methods_run_in_workers_too() -> None:
    one = experiment(metrics=[HeavyJudged("judged")], judges=[ScriptedJudge()], cpu_workers=1)
    result = one.run()
    assert result.status == "completed"
    for case in result.cases:
        (told,) = case.evaluation_executions
        processes = {
            told.prompts["one"].instructions.split()[1],
            str(told.judgments[0].details["process"]),
            str(told.scores[0].details["process"]),
            str(told.aggregation.details["process"]),
        }
        assert len(processes) == 1
        assert str(os.getpid()) not in processes


def test_a_worker_that_dies_over_a_judges_answer_is_an_outage_and_repeats_no_judge_call() -> None:
    judge = ScriptedJudge()
    one = experiment(cases=_data("sigkill", "ok"), metrics=[HeavyJudged("judged")], judges=[judge])
    assert one.run().status == "partial_failure"
    assert judge.count() == 2
    result = one.run()
    failures = [case.evaluation_failures for case in result.cases]
    assert [len(of_case) for of_case in failures] == [1, 0]
    assert "its worker process was killed by signal 9" in failures[0][0].message
    assert judge.count() == 2


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (HeldMetric(), r"metrics\[0\]: HeldMetric declares cpu_bound and cannot be pickled"),
        (AsyncMetric(), r"metrics\[0\]: AsyncMetric declares cpu_bound, but score\(\) is async"),
    ],
)
def test_what_cannot_go_to_a_worker_is_refused_at_compile_by_name(metric: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        experiment(metrics=[metric]).compile()


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("cpu_bound", "yes", "HeavyMetric.cpu_bound is 'yes'; it must be True or False"),
        ("cpu_timeout", 0, "HeavyMetric.cpu_timeout is 0; it must be seconds above 0"),
        ("cpu_timeout", True, "HeavyMetric.cpu_timeout is True"),
    ],
)
def test_a_declaration_that_means_nothing_is_refused(attribute: str, value: Any, said: str) -> None:
    metric = HeavyMetric()
    setattr(metric, attribute, value)
    with pytest.raises(DefinitionError, match=said):
        experiment(metrics=[metric]).compile()


SCRIPT = """
from tests.support.heavy import HeavyMetric
from tests.support.runs import experiment

print("the script runs")

class Own(HeavyMetric):
    pass

def run(metric):
    return experiment(metrics=[metric], cpu_workers=1).run()
"""


def _run(text: str, *, folder: Path | None) -> subprocess.CompletedProcess[str]:
    """Run a program: a file in a folder, or without one as ``python -c`` does."""
    text = SCRIPT + text
    command = ["-c", text]
    if folder is not None:
        (folder / "script.py").write_text(text)
        command = [str(folder / "script.py")]
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=_environment(), timeout=120
    )


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}


@pytest.mark.parametrize("is_file", [True, False])
def test_a_script_without_a_guard_runs_once_and_its_own_classes_are_refused(
    tmp_path: Path, is_file: bool
) -> None:
    folder = tmp_path if is_file else None
    ended = _run("print(run(HeavyMetric()).status.value)", folder=folder)
    assert ended.stdout.splitlines() == ["the script runs", "completed"], ended.stderr
    last = _run("run(Own())", folder=folder).stderr.splitlines()[-1]
    assert "Own declares cpu_bound, but 'Own' is defined in the script or notebook" in last
    assert "move it to a module of its own" in last


def test_the_process_that_is_killed_leaves_no_worker_behind(tmp_path: Path) -> None:
    text = SCRIPT + textwrap.dedent(
        """
        from tests.execution.workers.test_process_pool import _data
        experiment(cases=_data(*["loop"] * 4), metrics=[HeavyMetric()], cpu_workers=2).run()
        """
    )
    path = tmp_path / "script.py"
    path.write_text(text)
    process = subprocess.Popen([sys.executable, str(path)], env=_environment())
    workers: list[str] = []
    try:
        for _ in range(600):
            workers = _children_of(process.pid)
            if len(workers) == 2:
                break
            time.sleep(0.1)
        assert len(workers) == 2
    finally:
        process.kill()
        process.wait()
    for _ in range(300):
        left = [one for one in workers if _is_alive(one)]
        if not left:
            break
        time.sleep(0.1)
    assert left == []


def _children_of(parent: int) -> list[str]:
    return _ps("-o", "pid=", "--ppid", str(parent)).split()


def _is_alive(pid: str) -> bool:
    state = _ps("-o", "stat=", "-p", pid).strip()
    return state != "" and not state.startswith("Z")


def test_a_run_that_is_stopped_by_ctrl_c_leaves_no_worker_behind(tmp_path: Path) -> None:
    text = SCRIPT + textwrap.dedent(
        """
        import sys
        from tests.execution.workers.test_process_pool import _data
        from themis.core.config import StorageConfig
        experiment(
            cases=_data(2, 4, "loop"), metrics=[HeavyMetric()], cpu_workers=2, drain_timeout=0.5,
            storage=StorageConfig(store="sqlite", parameters={"path": sys.argv[1]}),
        ).run()
        """
    )
    path = tmp_path / "script.py"
    path.write_text(text)
    process = subprocess.Popen(
        [sys.executable, str(path), str(tmp_path / "runs.db")],
        env=_environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(
        lambda: steps_done(tmp_path / "runs.db", Stage.SCORE) == 2,
        "two scores beside the one without end",
    )
    workers = _children_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert "interrupted" in stderr.lower()
    assert len(workers) == 2
    assert [one for one in workers if _is_alive(one)] == []


def test_contexts_and_cases_survive_the_way() -> None:
    case = Case(case_id="c", input={"é": [1, None]}, expected_output=10**30, metadata={"a": 1.5})
    common: dict[str, Any] = {
        "run_id": "r",
        "case_id": "c",
        "dataset_id": "d",
        "case_key": "k",
        "seed": 3,
        "metadata": {"a": 1},
    }
    made = contexts.EvalScoreContext(
        **common, case=case, parsed_output=None, judge_model_refs=["j"], judge_config={"x": [1]}
    )
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert again.case == case
