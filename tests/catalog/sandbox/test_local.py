"""The local sandbox where it cannot run anything: an error of its own, never a program's result.

Covers: themis.catalog.sandbox, themis.catalog.sandbox.following, themis.catalog.sandbox.local,
themis.catalog.sandbox.pool, themis.catalog.sandbox.program
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.lacking import lacking
from themis.catalog.sandbox import local
from themis.catalog.sandbox.local import LocalSandbox
from themis.catalog.sandbox.pool import Pool
from themis.catalog.sandbox.program import Program, ProgramLimits, ProgramResult, SandboxError

NO_POSIX = """
import sys
for name in ("fcntl", "resource", "pwd", "grp", "termios", "posix"):
    if name != "posix": sys.modules[name] = None
import themis.catalog.metrics.code
import themis.catalog.sandbox.harness, themis.catalog.sandbox.supervisor
from themis.catalog.registry import make
make("builtin/humaneval_pass_rate", "metric")
"""


def test_all_of_it_imports_where_there_is_no_posix() -> None:
    subprocess.run([sys.executable, "-c", NO_POSIX], check=True)


def test_on_another_system_one_clear_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.sys, "platform", "win32")
    with pytest.raises(SandboxError, match=r"needs Linux, and this is win32; .*sandbox="):
        LocalSandbox().run(Program(source="pass"), ProgramLimits())


def test_an_interpreter_that_is_not_there_is_an_error_that_names_all_that_was_tried() -> None:
    sandbox = LocalSandbox(python="/nowhere/python")
    with pytest.raises(SandboxError, match=r"no sandbox works here .*namespaces.*/nowhere/python"):
        sandbox.run(Program(source="pass"), ProgramLimits())


def test_what_does_not_work_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[list[str]] = []

    def refused(
        program: object, limits: object, command: list[str], *rest: object
    ) -> ProgramResult:
        tried.append(command)
        raise SandboxError("not permitted")

    monkeypatch.setattr(local, "follow", refused)
    sandbox = LocalSandbox(isolation="namespaces")
    for _ in range(3):
        with pytest.raises(SandboxError, match="namespaces: not permitted"):
            sandbox.run(Program(source="pass"), ProgramLimits())
    assert len(tried) == 1


def test_a_scratch_directory_deeper_than_any_path_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local.tempfile, "tempdir", str(tmp_path))
    with local._folder(None) as folder:
        inside = os.open(folder, os.O_RDONLY)
        for _ in range(3_000):
            os.mkdir("d", dir_fd=inside)
            deeper = os.open("d", os.O_RDONLY, dir_fd=inside)
            os.close(inside)
            inside = deeper
        os.close(inside)
    assert list(tmp_path.iterdir()) == []


def test_removing_ends_when_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(local.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(local, "CLEARING", -1.0)
    with local._folder(None) as folder:
        Path(folder, "file").write_text("x")
    assert Path(folder, "file").exists()
    assert "not all removed" in caplog.text


def test_limits_alone_are_never_chosen_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def refused(*given: Any) -> ProgramResult:
        tried.append(given[3]["isolation"])
        raise SandboxError("not permitted")

    monkeypatch.setattr(local, "follow", refused)
    with pytest.raises(
        SandboxError, match=r"'rlimits' bounds less, .*never chosen unasked"
    ) as said:
        LocalSandbox().run(Program(source="pass"), ProgramLimits())
    assert "\n" not in str(said.value)
    assert "rlimits" not in tried
    assert tried[-1] == "namespaces"


def test_only_files_of_those_that_programs_are_run_as_are_swept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local, "_FOR_EVERYBODY", (str(tmp_path),))
    (tmp_path / "mine").write_text("kept")
    for user in (0, os.getuid(), local._FIRST_USER - 1, local._FIRST_USER + local._USERS):
        with pytest.raises(ValueError, match="nobody that programs are run as"):
            local._sweep(user)
    local._sweep(local._FIRST_USER)  # another's file is not its own
    assert (tmp_path / "mine").read_text() == "kept"


class Waiting:
    """A sandbox whose programs end when they are given up, or all of a number of them run."""

    def __init__(self, together: int) -> None:
        self._together = threading.Barrier(together)
        self.given_up = 0

    def run(
        self, program: Program, limits: ProgramLimits, *, given_up: threading.Event | None = None
    ) -> ProgramResult:
        if program.source == "wait":
            assert given_up is not None
            assert given_up.wait(60)
            self.given_up += 1
        else:
            self._together.wait(60)
        return ProgramResult(reason="passed", isolation="none")


async def test_as_many_programs_run_at_once_as_the_pool_has_room_for() -> None:
    pool, sandbox = Pool(3), Waiting(3)
    calls = [pool.run(sandbox, Program(source="meet"), ProgramLimits()) for _ in range(12)]
    assert all(one.passed for one in await asyncio.gather(*calls))
    assert pool.peak == 3


async def test_a_call_that_is_cancelled_has_its_program_ended() -> None:
    pool, sandbox = Pool(1), Waiting(1)
    call = asyncio.create_task(pool.run(sandbox, Program(source="wait"), ProgramLimits()))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    # The only thread is free again, which it is once the program has ended.
    assert (await pool.run(sandbox, Program(source="meet"), ProgramLimits())).passed


def test_install_bubblewrap_is_said_only_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for found, advised in (("/usr/bin/bwrap", False), (None, True)):
        monkeypatch.setattr(local.shutil, "which", lambda _, found=found: found)
        with pytest.raises(SandboxError) as refused:
            LocalSandbox(python="/nowhere/python").run(Program(source="pass"), ProgramLimits())
        assert ("install bubblewrap" in str(refused.value)) == advised
        assert "sandbox= with the address" in str(refused.value)


def environment_in(folder: Path, *more: str) -> str:
    """Make a virtual environment; return its interpreter."""
    command = [sys.executable, "-m", "venv", "--without-pip", *more, str(folder)]
    subprocess.run(command, check=True)
    return str(folder / "bin" / "python")


PLACES = {
    "the temporary folder, with a space and letters beyond ASCII": ("/tmp", "mit Raum, ü 环境"),
    "the folder of shared memory": ("/dev/shm", "environment"),
    "the other temporary folder": ("/var/tmp", "environment"),
    "the user's home": ("~", ".themis-sandbox-test"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_program_runs_wherever_its_interpreter_lies(sandbox: LocalSandbox, place: str) -> None:
    above, name = PLACES[place]
    folder = Path(os.path.expanduser(above))
    if not os.access(folder, os.W_OK):
        lacking(f"let this user write to {folder}", "an interpreter is put there")
    made = Path(tempfile.mkdtemp(prefix=name, dir=folder))
    made.chmod(0o755)
    source = (
        f"import os, sys, tempfile\n"
        f"assert sys.prefix == {str(made)!r}, sys.prefix\n"
        "for place in ('/tmp', '/dev/shm', tempfile.gettempdir()):\n"
        "    tempfile.mkstemp(dir=place)\n"
        f"try: open({str(made / 'new')!r}, 'w')\n"
        "except OSError: pass\n"
        "else: raise AssertionError\n"
    )
    try:
        python = environment_in(made)
        own = LocalSandbox(isolation=sandbox.isolation, python=python)
        if sandbox.isolation == "rlimits" and not for_all(python):
            with pytest.raises(SandboxError, match="is for its owner alone; use an interpreter"):
                own.run(Program(source=source), ProgramLimits())
        else:
            ended = own.run(Program(source=source), ProgramLimits(wall_seconds=120))
            assert ended.passed, ended
    finally:
        shutil.rmtree(made)


def for_all(path: str) -> bool:
    """Return whether everybody may come to a file, by the names that lead to it."""
    files = {Path(path), Path(path).resolve()}
    return all(one.stat().st_mode & 0o001 for file in files for one in (file, *file.parents))


@pytest.mark.parametrize("kind", ["--symlinks", "--copies"])
def test_an_interpreter_may_be_named_by_links_that_lead_to_others(
    sandbox: LocalSandbox, tmp_path: Path, kind: str
) -> None:
    if sandbox.isolation == "rlimits":
        tmp_path = Path(tempfile.mkdtemp(dir="/tmp"))
        tmp_path.chmod(0o755)
    python = environment_in(tmp_path / "made", kind)
    (tmp_path / "folder").symlink_to("made")
    (tmp_path / "python").symlink_to("folder/bin/python")
    (tmp_path / "script").write_text(f'#!/bin/sh\nexec {shlex.quote(python)} "$@"\n')
    (tmp_path / "script").chmod(0o755)
    try:
        for name in ("folder/bin/python", "python", "script"):
            own = LocalSandbox(isolation=sandbox.isolation, python=str(tmp_path / name))
            if sandbox.isolation == "rlimits" and not for_all(python):
                with pytest.raises(SandboxError, match="is for its owner alone"):
                    own.run(Program(source="pass"), ProgramLimits())
            else:
                ended = own.run(Program(source="import json"), ProgramLimits(wall_seconds=120))
                assert ended.passed, ended
    finally:
        shutil.rmtree(tmp_path)


def test_a_folder_for_temporary_files_that_others_may_not_enter_is_not_for_programs(
    sandbox: LocalSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(local.tempfile, "tempdir", str(tmp_path))
    ended = sandbox.run(Program(source="open('x', 'w')"), ProgramLimits(wall_seconds=120))
    assert ended.passed, ended
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "a\nb", "ü🦦", "\x00", "x" * 300_000])
def test_a_script_gets_its_standard_input_and_gives_its_output(
    sandbox: LocalSandbox, text: str
) -> None:
    source = "import sys\nassert __name__ == '__main__'\nsys.stdout.write(sys.stdin.read())"
    ended = sandbox.run(
        Program(source=source, script=True, stdin=text), ProgramLimits(wall_seconds=120)
    )
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
