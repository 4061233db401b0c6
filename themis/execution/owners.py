"""Which process this is, and whether another one still runs: the system says it, no clock does.

A process is known by the boot of its machine, its pid namespace, its pid and the moment at which it
began. All four are in /proc; where there is none (macOS), and of a process that it does not show,
as one in a container beside this one, nothing is said.
"""

from __future__ import annotations

import getpass
import os
import socket
import uuid
from contextlib import suppress
from pathlib import Path

from themis.core.store import Owner

_PROC = Path("/proc")
_UNNAMED: dict[int, str] = {}
"""What stands for the beginning of a process that cannot know it, by pid: a fork is another one."""


def this_process() -> Owner:
    """Return what this process says of itself in a lease."""
    pid = os.getpid()
    return Owner(
        host=socket.gethostname(),
        machine=_machine_id(),
        boot_id=_read(_PROC / "sys/kernel/random/boot_id"),
        pid=pid,
        process_start=_began("self") or _UNNAMED.setdefault(pid, uuid.uuid4().hex),
        pid_namespace=_namespaces(),
        user=_user(),
    )


def is_same(one: Owner, other: Owner) -> bool:
    """Return whether two owners are one process; its host may have been renamed meanwhile."""
    return _identity(one) == _identity(other)


def is_alive(owner: Owner) -> bool | None:
    """Return whether an owner runs: True or False where that is sure, None where it is not known.

    A stopped process runs; one that has ended runs no more, even if nobody has asked how it ended.
    """
    me = this_process()
    if not (owner.boot_id and me.boot_id):
        return None
    if owner.boot_id != me.boot_id:
        # Another machine may have this one's name. It has not its machine id too.
        rebooted = (owner.host, owner.machine) == (me.host, me.machine) and bool(me.machine)
        return False if rebooted else None
    if me.pid_namespace and owner.pid_namespace == me.pid_namespace:
        try:
            os.kill(owner.pid, 0)
        except ProcessLookupError:
            return False
        except (OSError, OverflowError):
            pass  # there is one, of another user: which one is in /proc, where that may be read
        if _pids("self") == [str(me.pid)]:  # /proc is of this namespace, and knows it by its pid
            began = _began(owner.pid)
            return None if began is None else began == owner.process_start
    return True if _is_seen(owner) else None


def _is_seen(owner: Owner) -> bool:
    """Return whether /proc shows an owner, under another pid than it has for itself.

    So are those of a container shown outside of it. Who is not shown may be in another container.
    """
    with suppress(OSError):
        for shown in filter(str.isdecimal, os.listdir(_PROC)):
            if _namespaces(shown) == owner.pid_namespace:
                known = (_pids(shown)[-1:], _began(shown))
                if known == ([str(owner.pid)], owner.process_start):
                    return True
    return False


def _identity(owner: Owner) -> tuple[str, str, int, str]:
    return owner.boot_id, owner.pid_namespace, owner.pid, owner.process_start


def _began(pid: int | str) -> str | None:
    """Return when a process began, in ticks since the boot.

    "" stands for one that has ended, and None for one of which /proc does not tell.
    """
    fields = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()
    if len(fields) < 20:
        return None
    return "" if fields[0] in "ZX" else fields[19]


def _pids(pid: str) -> list[str]:
    """Return a process's pids, from the namespace that /proc is of inwards to its own.

    A process in a new namespace may still have the /proc of an outer one.
    """
    for line in _read(_PROC / pid / "status").splitlines():
        if line.startswith("NSpid:"):
            return line.split()[1:]
    return []


def _namespaces(pid: str = "self") -> str:
    """Return within what a pid and a beginning mean something: in /proc/PID/stat both are local."""
    pids, times = (_link(_PROC / pid / "ns" / kind) for kind in ("pid", "time"))
    return f"{pids} {times}" if pids else ""


def _machine_id() -> str:
    found = _read(Path("/etc/machine-id"))
    return found if len(found) == 32 else ""  # else it is yet to be made


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may run under an id without a name
        return ""


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
