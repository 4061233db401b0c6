"""Which calls of the kernel a program may make: a filter in BPF, as seccomp(2) takes it.

Limits of processes and namespaces leave gaps. The kernel keeps memory that belongs to no process
(memfd_create, System V and POSIX queues, rings, watches), and gives sockets of families to which a
network namespace means nothing (vsock reaches the hypervisor). Those calls are refused here, as are
those by which a program would reach another process, the kernel's keys or new namespaces. A call
that is newer than this table is one that the kernel "does not have", so that libraries go on
without it. Another architecture's calls end the program.

It only makes the filter's bytes; ``supervisor.py`` installs them in the program. The filter is
three dozen lines and a table, and libseccomp a library that pip does not bring.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from themis.catalog.sandbox.program import SandboxError


class Architecture(NamedTuple):
    """How the kernel names an architecture to a filter, and its column in the tables below."""

    audit: int
    """``AUDIT_ARCH_...`` of ``linux/audit.h``."""
    column: int


ARCHITECTURES = {"x86_64": Architecture(0xC000003E, 0), "aarch64": Architecture(0xC00000B7, 1)}
"""By what ``os.uname().machine`` says of them."""

Numbers = tuple[int | None, int | None]
"""A call's number in each architecture, None where it has no such call."""

OUTSIDE_OF_LIMITS: dict[str, Numbers] = {
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "io_setup": (206, 0),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "splice": (275, 76),
    "tee": (276, 77),
    "vmsplice": (278, 75),
}
"""By these the kernel keeps memory that is in no process' address space, or in pipes uncounted."""

OUT_OF_REACH: dict[str, Numbers] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "seccomp": (317, 277),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "syslog": (103, 116),
    "acct": (163, 89),
    "vhangup": (153, 58),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "lookup_dcookie": (212, 18),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "_sysctl": (156, None),
}
"""By these a program would reach other processes, the kernel's keys and clocks, new namespaces."""

ATTRIBUTES: dict[str, Numbers] = {
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
}
"""These give files lists of access rights, which no limit of files counts."""

REFUSED = {
    errno.ENOSYS: OUTSIDE_OF_LIMITS,
    errno.EPERM: OUT_OF_REACH,
    errno.ENOTSUP: ATTRIBUTES,  # which who copies files expects
}
"""By what is answered."""

NEWER = 424
"""From here on the numbers are the same everywhere, and only these may be called."""
ALLOWED_NEWER = {
    "pidfd_send_signal": 424,
    "pidfd_open": 434,
    "close_range": 436,
    "openat2": 437,
    "faccessat2": 439,
    "epoll_pwait2": 441,
    "futex_waitv": 449,
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "mseal": 462,
}


class ByArgument(NamedTuple):
    """A call that depends on one of its arguments, of which the kernel reads the low half."""

    call: str
    numbers: tuple[int, int]
    argument: int
    mask: int
    """Which of the argument's bits count."""
    values: tuple[int, ...]
    only: bool
    """Whether the values are all that is allowed; else they are what is refused."""
    error: int


_ALL = 0xFFFFFFFF
_AF_UNIX, _SOCK_STREAM, _SOCK_SEQPACKET = 1, 1, 5
_CLONE_NEW = 0x7E020000  # mount, cgroup, UTS, IPC, user, process and network namespaces
_MAP_HUGETLB = 0x40000
_PR_SET_SECCOMP = 22
# reuse of addresses and ports, keep alive, credentials, timeouts: no buffers, no filters
_SOCKET_OPTIONS = (2, 9, 15, 16, 20, 21, 66, 67)

SOCKET, SOCKETPAIR = (41, 198), (53, 199)
# A datagram's sender may be gone and what it sent be kept, by no socket that is to be seen.
_TYPES = (_SOCK_STREAM, _SOCK_SEQPACKET)

BY_ARGUMENT = (
    ByArgument("socket", SOCKET, 0, _ALL, (_AF_UNIX,), True, errno.EAFNOSUPPORT),
    ByArgument("socket", SOCKET, 1, 15, _TYPES, True, errno.ESOCKTNOSUPPORT),
    ByArgument("socketpair", SOCKETPAIR, 0, _ALL, (_AF_UNIX,), True, errno.EAFNOSUPPORT),
    ByArgument("socketpair", SOCKETPAIR, 1, 15, _TYPES, True, errno.ESOCKTNOSUPPORT),
    ByArgument("setsockopt", (54, 208), 2, _ALL, _SOCKET_OPTIONS, True, errno.ENOPROTOOPT),
    ByArgument("clone", (56, 220), 0, _CLONE_NEW, (0,), True, errno.EPERM),
    ByArgument("mmap", (9, 222), 3, _MAP_HUGETLB, (0,), True, errno.ENOMEM),
    ByArgument("prctl", (157, 167), 0, _ALL, (_PR_SET_SECCOMP,), False, errno.EINVAL),
)

# Instructions of classic BPF, and answers of a filter (linux/bpf_common.h, linux/seccomp.h).
LOAD, AND, EQUAL, AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
ALLOW, ERROR, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
"""Where they stand in ``struct seccomp_data``."""


@cache
def program_filter(machine: str | None = None, *, sockets: bool = True) -> bytes:
    """Return the filter for programs, an array of ``struct sock_filter``.

    Args:
        machine: an architecture's name, this machine's by default.
        sockets: whether Unix sockets with names may be made, and not only pairs of them.

    Raises:
        SandboxError: there is no table for the architecture.
    """
    name = os.uname().machine if machine is None else machine
    if name not in ARCHITECTURES or sys.maxsize < 1 << 32:
        raise SandboxError(
            f"the filter of system calls is made for 64-bit {' and '.join(ARCHITECTURES)}, "
            f"and this is {name}"
        )
    audit, column = ARCHITECTURES[name]
    lines = [
        _line(LOAD, ARCHITECTURE),
        _line(EQUAL, audit, 1, 0),
        _line(RETURN, KILL),
        _line(LOAD, NUMBER),
        # Among them are clone3, whose flags no filter sees, and all of x32's.
        _line(AT_LEAST, NEWER, 0, 2 * len(ALLOWED_NEWER) + 1),
        *(line for one in ALLOWED_NEWER.values() for line in _answer(one, ALLOW)),
        _line(RETURN, ERROR | errno.ENOSYS),
    ]
    for error, calls in REFUSED.items():
        for numbers in calls.values():
            if (number := numbers[column]) is not None:
                lines += _answer(number, ERROR | error)
    if not sockets:
        lines += _answer(SOCKET[column], ERROR | errno.EAFNOSUPPORT)
    for rule in BY_ARGUMENT:
        lines += _by_argument(rule, column)
    return b"".join([*lines, _line(RETURN, ALLOW)])


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _answer(number: int, answer: int) -> Iterator[bytes]:
    """Yield what gives one call its answer, its number being loaded."""
    yield _line(EQUAL, number, 0, 1)
    yield _line(RETURN, answer)


def _by_argument(rule: ByArgument, column: int) -> Iterator[bytes]:
    """Yield what refuses a call by an argument, and else leaves its number loaded."""
    number, values = rule.numbers[column], rule.values
    yield _line(EQUAL, number, 0, 4 + len(values))
    yield _line(LOAD, ARGUMENTS + 8 * rule.argument)
    yield _line(AND, rule.mask)
    for ahead, value in reversed(tuple(enumerate(reversed(values)))):
        if rule.only:
            yield _line(EQUAL, value, ahead + 1, 0)
        else:
            yield _line(EQUAL, value, ahead, 0 if ahead else 1)
    yield _line(RETURN, ERROR | rule.error)
    yield _line(LOAD, NUMBER)
