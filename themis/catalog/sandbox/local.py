"""The sandbox on this machine: each program in processes, limits and, where it may, namespaces.

The strongest isolation that works here is used, and named in what is said of each program:

- "bubblewrap", where ``bwrap`` is installed, and "namespaces", made by the supervisor itself. The
  program sees the interpreter, read-only, and a scratch directory in memory; no other file, no
  other process and no network. All of its processes end with it, by the kernel's doing.
- "rlimits": limits only, and only where it is asked for by name. It sees the host's files and
  processes. With root the program runs as a user of its own, which needs an interpreter that
  everybody may run, and can write only where everybody can; without, it has this user's rights over
  files and processes. What it writes outside of its scratch directory is not bounded. What it
  leaves running is found and ended.

In each the kernel refuses the calls that ``seccomp`` names.

It refuses to run anything on another system than Linux, and where none of these works.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from themis.catalog.sandbox.following import follow
from themis.catalog.sandbox.program import Program, ProgramLimits, ProgramResult, SandboxError
from themis.catalog.sandbox.seccomp import program_filter

SHUT_IN = ("bubblewrap", "namespaces")
"""What may be chosen unasked, the strongest first."""
CLEARING = 10.0
"""Seconds that removing what a program wrote may take."""
_log = logging.getLogger(__name__)
ISOLATIONS = (*SHUT_IN, "rlimits")
_BY_NAME = (
    "; isolation='rlimits' bounds less, shows programs your files, and is never chosen unasked"
)
_HERE = Path(__file__).parent
_SCRATCH = "/scratch"
_SHARED, _TEMPORARY = "/dev/shm", "/tmp"  # noqa: S108 - as programs know them
_FOR_EVERYBODY = (_SHARED, _TEMPORARY, "/var/tmp")  # noqa: S108
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ld.so.cache")
_PARTS = ("bin", "include", "lib", "lib32", "lib64", "pyvenv.cfg")
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
        self, program: Program, limits: ProgramLimits, *, given_up: threading.Event | None = None
    ) -> ProgramResult:
        """Run a program to its end; see ``Sandbox.run``."""
        return self._run(program, limits, self.isolation, given_up)

    def _that_works(self) -> str:
        if sys.platform != "linux":
            raise SandboxError(
                f"the local sandbox needs Linux, and this is {sys.platform}; give the metric "
                "sandbox= with the address of a Piston or Sandbox Fusion server"
            )
        failed: dict[str, list[str]] = {}
        installed = shutil.which("bwrap") is not None
        for isolation in SHUT_IN if self._asked == "auto" else (self._asked,):
            if isolation == "bubblewrap" and not installed:
                failed.setdefault("bwrap is not installed", []).append(isolation)
                continue
            try:
                self._run(Program(source="pass"), ProgramLimits(), isolation)
            except SandboxError as error:
                failed.setdefault(str(error), []).append(isolation)
            else:
                return isolation
        raise SandboxError(
            "no sandbox works here ("
            + "; ".join(f"{', '.join(those)}: {why}" for why, those in failed.items())
            + "); "
            + ("" if installed else "install bubblewrap, or ")
            + "give the metric sandbox= with the address of a Piston or Sandbox Fusion server"
            + (_BY_NAME if self._asked == "auto" else "")
        )

    def _run(
        self,
        program: Program,
        limits: ProgramLimits,
        isolation: str,
        given_up: threading.Event | None = None,
    ) -> ProgramResult:
        with ExitStack() as stack:
            user = stack.enter_context(_user_of_its_own()) if os.geteuid() == 0 else None
            alone = isolation == "rlimits"
            if user is not None and alone:
                stack.callback(_sweep, user)
            folder = stack.enter_context(_folder(user if alone else None))
            python, binds = _interpreter(self._python)
            if user is not None:
                _check_that_others_may_run(python, binds, alone)
            scratch = folder if alone else _scratch_beside(binds)
            # The usual place is the scratch directory by another name, unless it is taken.
            taken = any(Path(one).is_relative_to(_TEMPORARY) for one in binds)
            config: dict[str, Any] = {
                "isolation": isolation,
                "uid": user,
                "root": folder,
                "scratch": scratch,
                "writable": [scratch, _SHARED, *([_TEMPORARY] if taken else ())],
                "binds": binds,
                "memory": limits.memory,
                "files": limits.files,
                "open_files": limits.open_files,
                "processes": limits.processes,
                "filter": program_filter(sockets=not alone).hex(),
                "argv": [python, "-s", "-B", "-c", _text("harness.py")],
                "env": _environment(scratch),
            }
            prefix = _bubblewrap(config) if isolation == "bubblewrap" else []
            command = [*prefix, python, "-I", "-S", "-B", "-c", _text("supervisor.py")]
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


class _Interpreter(NamedTuple):
    """An interpreter by the path it calls itself by, and the paths that it needs."""

    python: str
    binds: list[str]
    """None of them below another; links among them are shown as links."""


@cache
def _interpreter(python: str) -> _Interpreter:
    """Ask an interpreter what it is and needs; what was named may be a script that starts it."""
    asked = [
        python,
        "-I",
        "-S",
        "-c",
        "import os, sys; known = sys.executable, sys.prefix, sys.base_prefix, sys.exec_prefix\n"
        "sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, known)))",
    ]
    try:
        said = subprocess.run(asked, capture_output=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(f"{python} does not say what it needs: {error}") from error
    executable, *prefixes = map(os.fsdecode, said.split(b"\0"))
    # A virtual environment's interpreter knows itself by a file beside it or a folder above.
    above = Path(executable).parent.parent
    if Path(above, "pyvenv.cfg").exists():
        prefixes.append(str(above))
    wanted = {*_SYSTEM, *_links(executable)}
    for prefix in (*prefixes, *map(os.path.realpath, prefixes)):
        # Where everybody may write, and a system's root, hold more than the interpreter.
        shared = prefix in {"/", *_FOR_EVERYBODY}
        wanted |= {str(Path(prefix, part)) for part in _PARTS} if shared else {prefix}
    return _Interpreter(executable, _apart(wanted))


def _links(path: str) -> Iterator[str]:
    """Yield each link on the way to a file, and the file by the name without any."""
    walked, ahead = Path("/"), list(reversed(Path(path).parts[1:]))
    while ahead:
        part = ahead.pop()
        walked = walked.parent if part == ".." else walked / part
        # A program has folders of its own for those where everybody may write.
        if walked.is_symlink() and str(walked) not in _FOR_EVERYBODY:
            yield str(walked)
            to = Path(os.readlink(walked))
            ahead += reversed(to.parts[1:] if to.is_absolute() else to.parts)
            walked = Path("/") if to.is_absolute() else walked.parent
    yield str(walked)


def _apart(paths: set[str]) -> list[str]:
    """Return those of the paths that exist, and are not shown by showing another."""
    found: list[str] = []
    ahead = sorted(paths, reverse=True)
    while ahead:
        path = ahead.pop()
        shown = next((one for one in found if Path(path).is_relative_to(one)), None)
        if shown is None:
            found += [path] if os.path.lexists(path) else []
        elif os.path.islink(shown) and path != shown:  # what it leads to is shown by its own name
            ahead.append(os.path.join(os.path.realpath(os.path.dirname(path)), Path(path).name))
            ahead.sort(reverse=True)
    return [
        one
        for one in found
        if not any(one != other and Path(one).is_relative_to(other) for other in found)
    ]


def _scratch_beside(binds: list[str]) -> str:
    """Return where the scratch directory goes: nowhere that an interpreter lies below."""
    tops = {Path(one).parts[1] for one in binds}
    names = (_SCRATCH, *(f"{_SCRATCH}-{number}" for number in range(len(tops))))
    return next(one for one in names if one.strip("/") not in tops)


def _check_that_others_may_run(python: str, binds: list[str], alone: bool) -> None:
    """Refuse an interpreter that programs, which are run as users of their own, may not run.

    In a file system of the program's own, the folders above of what is shown are made anew.
    """
    for path in (one for link in _links(python) for one in (Path(link), *Path(link).parents)):
        made_anew = not alone and not any(path.is_relative_to(one) for one in binds)
        if made_anew or path.stat().st_mode & 0o001:
            continue
        raise SandboxError(
            f"programs are run as users of their own, which may not run {python}, since {path} is "
            "for its owner alone; use an interpreter that all may run, or give them that right"
        )


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
    command += ["--proc", "/proc", "--dev", "/dev"]
    for path in config["writable"]:  # first, since the interpreter may lie below
        command += ["--perms", "1777", "--size", size, "--tmpfs", path]
    if _TEMPORARY not in config["writable"]:
        command += ["--symlink", config["scratch"], _TEMPORARY]
    made = {Path("/dev"), *map(Path, config["writable"])}
    for path in config["binds"]:
        for above in reversed(Path(path).parents[:-1]):  # else they are for root alone
            command += [] if above in made else ["--dir", str(above)]
            made.add(above)
        link = Path(path).is_symlink()
        command += ["--symlink", os.readlink(path), path] if link else ["--ro-bind", path, path]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--"]


@contextmanager
def _folder(user: int | None) -> Iterator[str]:
    """Lend an empty directory, a user's own if one is given, who may come to it."""
    place = Path(tempfile.gettempdir())
    if user is not None and not all(one.stat().st_mode & 0o001 for one in (place, *place.parents)):
        place = Path(_TEMPORARY)
    folder = tempfile.mkdtemp(prefix="themis-sandbox-", dir=place)
    try:
        if user is not None:
            os.chown(folder, user, user)
        yield folder
    finally:
        _remove(folder)


def _sweep(user: int) -> None:
    """Remove what a program left where everybody may write, known by the user it was.

    Raises:
        ValueError: the number is none of those lent to programs; files of others are not touched.
    """
    if not _FIRST_USER <= user < _FIRST_USER + _USERS:
        raise ValueError(f"user {user} is nobody that programs are run as")
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
    """Remove a directory, whatever rights a program took from it and however deep it is.

    Directories in it are brought to its top, so that no path grows long. What is left after
    ``CLEARING`` seconds stays, and is told in the log.
    """
    until, ahead, moved = time.monotonic() + CLEARING, [folder], count()
    for place in ahead:
        with suppress(OSError):
            os.chmod(place, 0o700)
            with os.scandir(place) as found:
                for one in found:
                    if time.monotonic() > until:
                        _log.warning("what a program wrote is not all removed from %s", folder)
                        return
                    if not one.is_dir(follow_symlinks=False):
                        os.unlink(one.path)
                    elif place == folder:
                        ahead.append(one.path)
                    else:
                        os.chmod(one.path, 0o700)  # else it may not be moved
                        ahead.append(f"{folder}/.themis-{next(moved)}")
                        os.rename(one.path, ahead[-1])
    for place in reversed(ahead):
        with suppress(OSError):
            os.rmdir(place)


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
