"""What stands between Themis and a program: it shuts the program in, watches it and ends it.

This file's text is given to an interpreter of its own; it imports nothing of Themis, and of POSIX
only when run. It starts the program under its limits and without rights, watches the memory of all
its processes together, and ends them all when the program has ended, when it is told to (by the end
of the lifeline, a pipe that Themis holds: so that a killed Themis leaves nothing running) or when
they take too much. How it went is said over a descriptor that the program does not have.

Under bubblewrap and in namespaces of its own it is process 1: whatever the program started ends
with it, by the kernel's doing. Otherwise it adopts what the program leaves behind
(PR_SET_CHILD_SUBREAPER) and ends that.
"""

from __future__ import annotations

import errno
import json
import math
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

Config = dict[str, Any]

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND = 1, 2, 4, 32, 4096
MS_REC, MS_PRIVATE = 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
MOUNT_SETATTR = 442  # on every architecture
TEMPORARY = "/tmp"  # noqa: S108 - as programs know it
DEVICES = ("null", "zero", "full", "random", "urandom")
TICK = 0.05
FILES = 10_000
"""As many files, directories and links a program may have, all together."""
QUEUED_SIGNALS = 1024


def libc() -> Any:
    """Return the C library, whose calls raise OSError."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def call(name: str, *args: str | int | None) -> None:
    """Call a function of the C library; texts go as bytes."""
    import ctypes

    found = getattr(libc(), name)
    given = [os.fsencode(one) if isinstance(one, str) else one for one in args]
    if found(*[ctypes.c_ulong(one) if isinstance(one, int) else one for one in given]) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount a file system."""
    call("mount", source, target, kind, flags, data)


def read_only(path: str) -> None:
    """Make a mount and all those below it read-only, without devices and set-user-id programs."""
    import ctypes

    attributes = (ctypes.c_uint64 * 4)(MS_RDONLY | MS_NOSUID, 0, 0, 0)
    code = libc().syscall(
        ctypes.c_long(MOUNT_SETATTR),
        ctypes.c_int(-100),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.c_uint(0x8000),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    if code < 0:
        raise OSError(ctypes.get_errno(), "mount_setattr: " + os.strerror(ctypes.get_errno()))


def enter_namespaces(config: Config) -> None:
    """Go into namespaces of our own, as their process 1, over a file system made for the purpose.

    Returns in process 1 only; the process that was called waits for it and ends with it.
    """
    user, group, flags = os.getuid(), os.getgid(), NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS
    call("unshare", flags if user == 0 else flags | NEWUSER)
    if user != 0:
        for name, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open("/proc/self/" + name, "w") as file:
                file.write(line)
    first = os.fork()
    if first:
        for name in ("status", "lifeline", "report", "payload"):
            os.close(config[name])
        os.waitpid(first, 0)
        os._exit(0)
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    new_root(config)


def new_root(config: Config) -> None:
    """Leave nothing of the file system in sight but what the interpreter needs, read-only."""
    root = config["root"]
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for name in DEVICES:
        bind("/dev/" + name, root)
    os.makedirs(root + "/proc")
    mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV)
    options = f"size={config['files']},mode=1777,nr_inodes={FILES}"
    for path in config["writable"]:  # first, since the interpreter may lie below
        os.makedirs(root + path)
        mount("tmpfs", root + path, "tmpfs", MS_NOSUID | MS_NODEV, options)
    if TEMPORARY not in config["writable"]:
        os.symlink(config["scratch"], root + TEMPORARY)
    for path in config["binds"]:
        bind(path, root)
        if not os.path.islink(path):
            read_only(root + path)
    mount("none", root, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir(root)
    call("pivot_root", ".", ".")
    call("umount2", ".", MNT_DETACH)
    os.chdir("/")


def bind(path: str, root: str) -> None:
    """Show a file, a directory with all below it, or a link under the new root."""
    target = root + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        with open(target, "w"):
            pass
    mount(path, target, None, MS_BIND | MS_REC)


def become_program(config: Config) -> None:
    """Give up every right, take on the limits, and become the program."""
    import resource

    os.setsid()
    for name in ("status", "lifeline"):
        os.set_inheritable(config[name], False)
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_AS": config["memory"],
        "RLIMIT_FSIZE": config["files"],
        "RLIMIT_NOFILE": config["open_files"],
        "RLIMIT_NPROC": config["processes"],
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_SIGPENDING": QUEUED_SIGNALS,
    }
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, name), (most, most))
    if config["uid"] is not None:
        os.setgroups([])
        os.setresgid(config["uid"], config["uid"], config["uid"])
        os.setresuid(config["uid"], config["uid"], config["uid"])
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.chdir(config["scratch"])
    install(bytes.fromhex(config["filter"]))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execve(config["argv"][0], config["argv"], config["env"])  # noqa: S606


def install(program_filter: bytes) -> None:
    """Let the kernel refuse from now on the calls that a filter refuses."""
    import ctypes
    import struct

    lines = ctypes.create_string_buffer(program_filter)
    given = struct.pack("HP", len(program_filter) // 8, ctypes.addressof(lines))
    program = ctypes.create_string_buffer(given)  # struct sock_fprog
    call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))


def processes() -> Iterator[tuple[int, int]]:
    """Yield number and parent of each process that is to be seen and is no zombie."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except OSError:
                continue
            if state not in (b"Z", b"X"):
                yield int(name), int(parent)


def below(me: int) -> list[int]:
    """Return the processes that descend from this one."""
    children: dict[int, list[int]] = {}
    for number, parent in processes():
        children.setdefault(parent, []).append(number)
    found: list[int] = []
    ahead = [me]
    while ahead:
        one = children.get(ahead.pop(), [])
        found += one
        ahead += one
    return found


def memory_of(numbers: Iterable[int]) -> int:
    """Return the bytes of memory that processes have, what several share counted for each."""
    page, total = os.sysconf("SC_PAGE_SIZE"), 0
    for number in numbers:
        try:
            with open(f"/proc/{number}/statm") as file:
                total += int(file.read().split()[1]) * page
        except (OSError, IndexError):
            continue
    return total


def proportional(numbers: Iterable[int]) -> int:
    """Return the same with shared pages shared out, which takes longer to find."""
    total = 0
    for number in numbers:
        try:
            with open(f"/proc/{number}/smaps_rollup") as file:
                total += sum(int(one.split()[1]) for one in file if one.startswith("Pss:")) * 1024
        except (OSError, IndexError):
            total += memory_of([number])
    return total


def files_in(folder: str) -> tuple[float, float]:
    """Return the bytes and the number of files in a folder, looking at no more than may be."""
    total, number, ahead = 0, 0, [folder]
    while ahead and number <= FILES:
        try:
            with os.scandir(ahead.pop()) as found:
                for one in found:
                    number += 1
                    total += one.stat(follow_symlinks=False).st_blocks * 512
                    if one.is_dir(follow_symlinks=False):
                        ahead.append(one.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # deeper than a path can say
                return math.inf, math.inf
    return total, number


def files_in_memory(places: Iterable[str]) -> tuple[float, float]:
    """Return the bytes and the number of files in file systems made for the program."""
    found = [os.statvfs(one) for one in places]
    total = sum((one.f_blocks - one.f_bfree) * one.f_frsize for one in found)
    return total, sum(one.f_files - one.f_ffree for one in found)


def excess(config: Config) -> str | None:
    """Return what all of the program's processes together have too much of, or None."""
    all_of_them, most = below(os.getpid()), config["memory"]
    if config["isolation"] == "rlimits":
        written, number = files_in(config["scratch"])
    else:
        written, number = files_in_memory(config["writable"])
        most -= written
    if written > config["files"] or number > FILES:
        return "output_limit"
    if memory_of(all_of_them) > most and proportional(all_of_them) > most:
        return "memory"
    return None


def end_all(config: Config) -> None:
    """End all that the program started; in a process namespace our own end does it."""
    if config["isolation"] != "rlimits":
        return
    while left := below(os.getpid()):
        if config["uid"] is not None:
            if not (helper := os.fork()):
                os.setresuid(config["uid"], config["uid"], config["uid"])
                os.kill(-1, signal.SIGKILL)  # at once, so that no fork gets away
                os._exit(0)
            os.waitpid(helper, 0)
        else:
            stopped: set[int] = set()
            while new := set(left) - stopped:  # first none may fork on, then all end
                send(signal.SIGSTOP, new)
                stopped |= new
                left = below(os.getpid())
            send(signal.SIGKILL, stopped)
        reap()


def send(number: int, to: Iterable[int]) -> None:
    """Send a signal to processes, some of which may be gone."""
    for process in to:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


def reap() -> dict[int, tuple[int, float]]:
    """Return status and processor seconds of the processes that have ended, by number."""
    ended: dict[int, tuple[int, float]] = {}
    while True:
        try:
            number, status, used = os.wait3(os.WNOHANG)
        except ChildProcessError:
            return ended
        if number == 0:
            return ended
        ended[number] = (status, used.ru_utime + used.ru_stime)


def watch(config: Config, program: int) -> dict[str, object]:
    """Wait for the program's end; return how it ended, or why it is to be ended."""
    wait_for = select.poll()
    wait_for.register(config["lifeline"], select.POLLHUP | select.POLLIN)
    with suppress(AttributeError, OSError):  # without it, each tick looks
        wait_for.register(os.pidfd_open(program), select.POLLIN)
    looked = time.monotonic()
    while True:
        for descriptor, _ in wait_for.poll(TICK * 1000):
            if descriptor == config["lifeline"]:
                return {"ended_for": "told"}
        ended = reap()
        if program in ended:
            status, used = ended[program]
            if os.WIFSIGNALED(status):
                return {"signal": os.WTERMSIG(status), "seconds": used}
            return {"code": os.WEXITSTATUS(status)}
        if time.monotonic() - looked >= TICK:
            if (too_much := excess(config)) is not None:
                return {"ended_for": too_much}
            looked = time.monotonic()


def supervise(config: Config) -> None:
    """Run the program and say how it ended."""
    call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)  # its memory and files are not the program's
    program = os.fork()
    if not program:
        try:
            become_program(config)
        except BaseException as error:  # noqa: BLE001 - to be told, whatever it is
            tell(config, failed=f"{type(error).__name__}: {error}")
        os._exit(70)
    os.close(config["report"])
    os.close(config["payload"])
    said = watch(config, program)
    end_all(config)
    tell(config, **said)


def tell(config: Config, **what: object) -> None:
    """Say something to Themis."""
    os.write(config["status"], json.dumps(what).encode() + b"\n")


def main() -> None:
    """Do as the command line says."""
    config = json.loads(sys.argv[1])
    os.umask(0o022)  # what is made here is there for programs, which are run as another user
    try:
        if config["isolation"] == "namespaces":
            enter_namespaces(config)
        supervise(config)
    except BaseException as error:  # noqa: BLE001 - to be told, whatever it is
        tell(config, failed=f"{type(error).__name__}: {error}")
    os._exit(0)


if __name__ == "__main__":
    main()
