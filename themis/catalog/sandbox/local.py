"""The sandbox on this machine: each program in processes, limits and, where it may, namespaces.

The strongest isolation that works here is used, and named in what is said of each program:

- "bubblewrap", where ``bwrap`` is installed, and "namespaces", made by the supervisor itself. The
  program sees the interpreter, read-only, and a scratch directory in memory; no other file, no
  other process and no network. All of its processes end with it, by the kernel's doing.
- "rlimits": limits only. The program runs as a user of its own, which takes being root, and so can
  write only where everybody can; it sees the host's files and network. What it leaves running is
  found and ended. Without being root it would have this user's rights over files and processes, and
  so is used only where it is asked for by name.

It refuses to run anything on another system than Linux, and where none of these works.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from themis.catalog.sandbox.following import follow
from themis.catalog.sandbox.program import Ended, Limits, Program, SandboxError

ISOLATIONS = ("bubblewrap", "namespaces", "rlimits")
_HERE = Path(__file__).parent
_SCRATCH = "/scratch"
_SHARED, _TEMPORARY = "/dev/shm", "/tmp"  # noqa: S108 - as programs know them
_FOR_EVERYBODY = (_SHARED, _TEMPORARY, "/var/tmp")  # noqa: S108
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ld.so.cache")
_FIRST_USER, _USERS = 50_000, 10_000
_USER_NUMBERS = count(os.getpid() * 97)


class LocalSandbox:
    """Runs programs on this machine, each shut in by itself.

    Args:
        isolation: "auto" for the strongest that works here, or one by name.
        python: the interpreter that runs the programs; this one's by default.
    """

    def __init__(self, *, isolation: str = "auto", python: str | None = None) -> None:
        self._asked = isolation
        self._python = sys.executable if python is None else python
        self._isolation: str | None = None
        self._failed: str | None = None
        self._lock = threading.Lock()

    @property
    def isolation(self) -> str:
        """What programs are shut in by; found out by running one, the first time.

        Raises:
            SandboxError: nothing works here; the message says what was tried and what to do.
        """
        with self._lock:
            if self._failed is not None:  # to find it out for each program would take long
                raise SandboxError(self._failed)
            if self._isolation is None:
                try:
                    self._isolation = self._that_works()
                except SandboxError as error:
                    self._failed = str(error)
                    raise
            return self._isolation

    def run(
        self, program: Program, limits: Limits, *, given_up: threading.Event | None = None
    ) -> Ended:
        """Run a program to its end; see ``Sandbox.run``."""
        return self._run(program, limits, self.isolation, given_up)

    def _that_works(self) -> str:
        if sys.platform != "linux":
            raise SandboxError(
                f"the local sandbox needs Linux, and this is {sys.platform}; give the metric "
                "sandbox= with the address of a Piston or Sandbox Fusion server"
            )
        failed = []
        for isolation in ISOLATIONS if self._asked == "auto" else (self._asked,):
            if self._asked == "auto" and isolation == "rlimits" and os.geteuid() != 0:
                failed.append("rlimits: alone they do not keep a program from this user's files")
                continue
            if isolation == "bubblewrap" and shutil.which("bwrap") is None:
                failed.append("bubblewrap: bwrap is not installed")
                continue
            try:
                self._run(Program(source="pass"), Limits(), isolation)
            except SandboxError as error:
                failed.append(f"{isolation}: {error}")
            else:
                return isolation
        raise SandboxError(
            "no sandbox works here (" + "; ".join(failed) + "); install bubblewrap, or give the "
            "metric sandbox= with the address of a Piston or Sandbox Fusion server"
        )

    def _run(
        self,
        program: Program,
        limits: Limits,
        isolation: str,
        given_up: threading.Event | None = None,
    ) -> Ended:
        with ExitStack() as stack:
            user = stack.enter_context(_user_of_its_own()) if os.geteuid() == 0 else None
            if user is not None and isolation == "rlimits":
                stack.callback(_sweep, user)
            folder = stack.enter_context(_folder(user if isolation == "rlimits" else None))
            scratch = folder if isolation == "rlimits" else _SCRATCH
            config: dict[str, Any] = {
                "isolation": isolation,
                "uid": user,
                "root": folder,
                "scratch": scratch,
                "binds": _needed_by(self._python),
                "memory": limits.memory,
                "files": limits.files,
                "open_files": limits.open_files,
                "processes": limits.processes,
                "argv": [self._python, "-s", "-B", "-c", _text("harness.py")],
                "env": _environment(scratch),
            }
            prefix = _bubblewrap(config) if isolation == "bubblewrap" else []
            command = [*prefix, self._python, "-I", "-S", "-B", "-c", _text("supervisor.py")]
            return follow(program, limits, command, config, given_up or threading.Event())


@cache
def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _environment(scratch: str) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": scratch,
        "TMPDIR": scratch,
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",  # what a program does with a set is the same each time
        # Libraries of mathematics start a thread, with memory, for each processor.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


@cache
def _needed_by(python: str) -> list[str]:
    """Return the paths that an interpreter needs, none of them below another that is no link."""
    asked = [
        python,
        "-I",
        "-S",
        "-c",
        "import sys; print(*{sys.prefix, sys.base_prefix, sys.exec_prefix}, sep='\\n')",
    ]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(f"{python} does not say what it needs: {error}") from error
    prefixes = [line for line in said.splitlines() if line != "/"]
    # A virtual environment's interpreter knows itself by the file beside its configuration.
    beside = str(Path(python).parent.parent)
    wanted = {*_SYSTEM, *prefixes, beside, *(os.path.realpath(one) for one in prefixes)}
    found: list[str] = []
    for path in sorted(wanted - {"/"}):
        covered = any(Path(path).is_relative_to(one) for one in found if not Path(one).is_symlink())
        if Path(path).exists() and not covered:
            found.append(path)
    return found


def _bubblewrap(config: dict[str, Any]) -> list[str]:
    """Return the bubblewrap command that makes the same as the supervisor's own namespaces."""
    size = str(config["files"])
    command = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--die-with-parent", "--as-pid-1", "--new-session"]
    if config["uid"] is None:
        command += ["--unshare-user"]
    else:  # what the supervisor needs to give the program a user of its own, and to watch it
        for one in ("SETUID", "SETGID", "SYS_PTRACE"):
            command += ["--cap-add", f"CAP_{one}"]
    made: set[Path] = set()
    for path in config["binds"]:
        for above in reversed(Path(path).parents[:-1]):  # else they are for root alone
            command += [] if above in made else ["--dir", str(above)]
            made.add(above)
        link = Path(path).is_symlink()
        command += ["--symlink", os.readlink(path), path] if link else ["--ro-bind", path, path]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for path in (config["scratch"], _SHARED):
        command += ["--perms", "1777", "--size", size, "--tmpfs", path]
    command += ["--symlink", config["scratch"], _TEMPORARY]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--"]


@contextmanager
def _folder(user: int | None) -> Iterator[str]:
    """Lend an empty directory, a user's own if one is given."""
    folder = tempfile.mkdtemp(prefix="themis-sandbox-")
    try:
        if user is not None:
            os.chown(folder, user, user)
        yield folder
    finally:
        _remove(folder)


def _sweep(user: int) -> None:
    """Remove what a program left where everybody may write, known by the user it was."""
    for place in _FOR_EVERYBODY:
        for path in Path(place).glob("*"):
            with suppress(OSError):
                if path.lstat().st_uid != user:
                    continue
                if path.is_dir() and not path.is_symlink():
                    _remove(str(path))
                else:
                    path.unlink()


def _remove(folder: str) -> None:
    """Remove a directory whatever rights a program took from it."""
    with suppress(OSError):
        shutil.rmtree(folder)
        return
    with suppress(OSError):
        os.chmod(folder, 0o700)
        for where, names, _ in os.walk(folder):  # a directory is gone into after this
            for path in (Path(where, name) for name in names):
                if not path.is_symlink():
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _user_of_its_own() -> Iterator[int]:
    """Lend a user's number that nobody here has and no other program is run as.

    A socket's abstract name is taken for it, which goes with the process that holds it. With a
    user of its own a program can neither send signals to another nor use up its processes.
    """
    import pwd

    for _ in range(_USERS):
        user = _FIRST_USER + next(_USER_NUMBERS) % _USERS
        with socket.socket(socket.AF_UNIX) as held:
            try:
                held.bind(f"\0themis-sandbox-user-{user}")
                pwd.getpwuid(user)
            except KeyError:
                yield user
                return
            except OSError:
                continue
    raise SandboxError("all users' numbers for sandboxes are taken")


def isolations(asked: Sequence[str] = ISOLATIONS, *, python: str | None = None) -> list[str]:
    """Return which of the isolations work here."""
    found = []
    for one in asked:
        try:
            found.append(LocalSandbox(isolation=one, python=python).isolation)
        except SandboxError:
            continue
    return found
