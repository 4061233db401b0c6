"""The local sandbox where it cannot run anything: an error of its own, never a program's result."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.catalog.sandbox.conftest import PYTHONS
from themis.catalog.sandbox import local
from themis.catalog.sandbox.local import LocalSandbox
from themis.catalog.sandbox.pool import Pool
from themis.catalog.sandbox.program import Ended, Limits, Program, SandboxError

NO_POSIX = """
import sys
for name in ("fcntl", "resource", "pwd", "grp", "termios", "posix"):
    if name != "posix": sys.modules[name] = None
import themis.catalog.code_metrics
import themis.catalog.sandbox.harness, themis.catalog.sandbox.supervisor
from themis.catalog.registry import make
make("builtin/humaneval_pass_rate", "metric")
"""


def test_all_of_it_imports_where_there_is_no_posix() -> None:
    subprocess.run([sys.executable, "-c", NO_POSIX], check=True)


def test_on_another_system_one_clear_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.sys, "platform", "win32")
    with pytest.raises(SandboxError, match=r"needs Linux, and this is win32; .*sandbox="):
        LocalSandbox().run(Program(source="pass"), Limits())


def test_an_interpreter_that_is_not_there_is_an_error_that_names_all_that_was_tried() -> None:
    sandbox = LocalSandbox(python="/nowhere/python")
    with pytest.raises(SandboxError, match=r"no sandbox works here .*namespaces.*/nowhere/python"):
        sandbox.run(Program(source="pass"), Limits())


def test_what_does_not_work_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[list[str]] = []

    def refused(program: object, limits: object, command: list[str], *rest: object) -> Ended:
        tried.append(command)
        raise SandboxError("not permitted")

    monkeypatch.setattr(local, "follow", refused)
    sandbox = LocalSandbox(isolation="namespaces")
    for _ in range(3):
        with pytest.raises(SandboxError, match="namespaces: not permitted"):
            sandbox.run(Program(source="pass"), Limits())
    assert len(tried) == 1


def test_a_weaker_isolation_is_used_where_a_stronger_one_does_not_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def follow(
        program: Program, limits: Limits, command: list[str], config: dict[str, str], *_: object
    ) -> Ended:
        if config["isolation"] != "rlimits":
            raise SandboxError("not permitted")
        return Ended(reason="passed", isolation="rlimits")

    monkeypatch.setattr(local, "follow", follow)
    monkeypatch.setattr(local.os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match="do not keep a program from this user's files"):
        LocalSandbox().run(Program(source="pass"), Limits())
    assert LocalSandbox(isolation="rlimits").run(Program(source="pass"), Limits()).passed


class Waiting:
    """A sandbox whose programs end when they are given up, or all of a number of them run."""

    def __init__(self, together: int) -> None:
        self._together = threading.Barrier(together)
        self.given_up = 0

    def run(
        self, program: Program, limits: Limits, *, given_up: threading.Event | None = None
    ) -> Ended:
        if program.source == "wait":
            assert given_up is not None
            assert given_up.wait(60)
            self.given_up += 1
        else:
            self._together.wait(60)
        return Ended(reason="passed", isolation="none")


async def test_as_many_programs_run_at_once_as_the_pool_has_room_for() -> None:
    pool, sandbox = Pool(3), Waiting(3)
    calls = [pool.run(sandbox, Program(source="meet"), Limits()) for _ in range(12)]
    assert all(one.passed for one in await asyncio.gather(*calls))
    assert pool.peak == 3


async def test_a_call_that_is_cancelled_has_its_program_ended() -> None:
    pool, sandbox = Pool(1), Waiting(1)
    call = asyncio.create_task(pool.run(sandbox, Program(source="wait"), Limits()))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    # The only thread is free again, which it is once the program has ended.
    assert (await pool.run(sandbox, Program(source="meet"), Limits())).passed


def test_a_sandbox_works_for_the_interpreters_of_these_tests() -> None:
    found = []
    for python in PYTHONS:
        try:
            found.append(LocalSandbox(python=python).isolation)
        except SandboxError as error:
            found.append(str(error))
    if not {"bubblewrap", "namespaces", "rlimits"} & set(found):
        pytest.skip("; ".join(found))


@pytest.mark.parametrize("text", ["", "a\nb", "ü🦦", "\x00", "x" * 300_000])
def test_a_script_gets_its_standard_input_and_gives_its_output(
    sandbox: LocalSandbox, text: str
) -> None:
    source = "import sys\nassert __name__ == '__main__'\nsys.stdout.write(sys.stdin.read())"
    ended = sandbox.run(Program(source=source, script=True, stdin=text), Limits(wall_seconds=120))
    assert ended.passed, ended
    assert ended.stdout == text


def test_a_scratch_directory_goes_whatever_rights_were_taken_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local.tempfile, "tempdir", str(tmp_path))
    with local._folder(None) as folder:
        deep = Path(folder, "a", "b")
        deep.mkdir(parents=True)
        (deep / "file").write_text("x")
        (deep / "out").symlink_to("/etc")
        deep.chmod(0)
        deep.parent.chmod(0)
    assert list(tmp_path.iterdir()) == []
