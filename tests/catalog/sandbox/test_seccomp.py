"""The filter of system calls, gone through as the kernel does, for each architecture.

Covers: themis.catalog.sandbox.seccomp
"""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from tests.support.lacking import lacking
from themis.catalog.sandbox import seccomp
from themis.catalog.sandbox.program import SandboxError
from themis.catalog.sandbox.seccomp import ALLOW, ARCHITECTURES, ERROR, KILL, program_filter

MACHINES = pytest.mark.parametrize("machine", ARCHITECTURES)
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}


def answer(program: bytes, audit: int, number: int, *arguments: int) -> int:
    """Return what a filter says of a call."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, audit, 0, *padded)
    lines = list(struct.iter_unpack("=HBBI", program))
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, value = lines[at]
        at += 1
        if code == seccomp.LOAD:
            (loaded,) = struct.unpack_from("<I", data, value)
        elif code == seccomp.AND:
            loaded &= value
        elif code == seccomp.EQUAL:
            at += if_true if loaded == value else if_false
        elif code == seccomp.AT_LEAST:
            at += if_true if loaded >= value else if_false
        else:
            assert code == seccomp.RETURN
            return int(value)


def said(machine: str, number: int, *arguments: int, sockets: bool = True) -> int:
    program = program_filter(machine, sockets=sockets)
    return answer(program, ARCHITECTURES[machine].audit, number, *arguments)


@MACHINES
def test_each_call_of_the_table_gets_its_error(machine: str) -> None:
    column = ARCHITECTURES[machine].column
    for error, calls in seccomp.REFUSED.items():
        for call, numbers in calls.items():
            if (number := numbers[column]) is not None:
                assert said(machine, number) == ERROR | error, call


@MACHINES
def test_of_newer_calls_only_those_named_are_there(machine: str) -> None:
    found = {one for one in range(424, 4096) if said(machine, one) == ALLOW}
    assert found == set(seccomp.ALLOWED_NEWER.values())
    assert said(machine, 435) == ERROR | errno.ENOSYS  # clone3
    assert said(machine, 0x40000000 | 39) == ERROR | errno.ENOSYS  # x32
    assert said(machine, 0xFFFFFFFF) == ERROR | errno.ENOSYS


@MACHINES
def test_another_architectures_calls_end_the_program(machine: str) -> None:
    for audit in (0x40000003, 0x40000028, 0xC00000F3, 0):
        assert answer(program_filter(machine), audit, 20) == KILL


@MACHINES
def test_arguments_decide_where_they_must(machine: str) -> None:
    column = ARCHITECTURES[machine].column
    by_name = {one.call: one.numbers[column] for one in seccomp.BY_ARGUMENT}
    for call in ("socket", "socketpair"):
        for family in range(64):
            expected = ALLOW if family == 1 else ERROR | errno.EAFNOSUPPORT
            assert said(machine, by_name[call], family, 1) == expected
        # The kernel takes the low half, and flags beside the type.
        assert said(machine, by_name[call], 1 | 7 << 32, 1 | 0o2000000) == ALLOW
        assert said(machine, by_name[call], 40 | 1 << 32, 1) == ERROR | errno.EAFNOSUPPORT
        for kind in (2, 3, 2 | 0o2000000):
            assert said(machine, by_name[call], 1, kind) == ERROR | errno.ESOCKTNOSUPPORT
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert said(machine, by_name["clone"], 1 << bit | 17) == ERROR | errno.EPERM
    assert said(machine, by_name["clone"], 0x3D0F00) == ALLOW  # a thread
    assert said(machine, by_name["mmap"], 0, 1, 3, 0x22) == ALLOW
    assert said(machine, by_name["mmap"], 0, 1, 3, 0x40022) == ERROR | errno.ENOMEM
    assert said(machine, by_name["prctl"], 22) == ERROR | errno.EINVAL
    assert said(machine, by_name["prctl"], 15) == ALLOW
    assert said(machine, by_name["setsockopt"], 3, 1, 2) == ALLOW
    for option in (7, 8, 26, 32, 33, 50, 60):
        assert said(machine, by_name["setsockopt"], 3, 1, option) == ERROR | errno.ENOPROTOOPT


@MACHINES
def test_named_sockets_can_be_refused_and_pairs_be_left(machine: str) -> None:
    column = ARCHITECTURES[machine].column
    refused = said(machine, seccomp.SOCKET[column], 1, 1, sockets=False)
    assert refused == ERROR | errno.EAFNOSUPPORT
    assert said(machine, seccomp.SOCKETPAIR[column], 1, 1, sockets=False) == ALLOW


@MACHINES
def test_every_other_call_is_allowed(machine: str) -> None:
    column = ARCHITECTURES[machine].column
    refused = {numbers[column] for calls in seccomp.REFUSED.values() for numbers in calls.values()}
    decided = {one.numbers[column] for one in seccomp.BY_ARGUMENT}
    for number in set(range(424)) - refused - decided:
        assert said(machine, number) == ALLOW, number


@pytest.mark.parametrize("machine", ["riscv64", "i686", "armv7l", "aarch64_be"])
def test_an_architecture_without_a_table_is_refused_in_one_line(machine: str) -> None:
    with pytest.raises(SandboxError, match=rf"x86_64 and aarch64, and this is {machine}$"):
        program_filter(machine)


@MACHINES
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    found = next((one for one in HEADERS[machine] if Path(one).exists()), None)
    if found is None:
        lacking("install the kernel's headers (linux-libc-dev)", f"there is no {HEADERS[machine]}")
    text = Path(found).read_text()
    known = {
        name: int(number)
        for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\s", text)
    }
    newest = known.pop("syscalls", max(known.values()) + 1) - 1
    column = ARCHITECTURES[machine].column
    ours = {
        call: numbers[column]
        for calls in (*seccomp.REFUSED.values(), {r.call: r.numbers for r in seccomp.BY_ARGUMENT})
        for call, numbers in calls.items()
    }
    for call, number in ours.items():
        assert known.get(call) == number, call
    for call, number in seccomp.ALLOWED_NEWER.items():
        assert number > newest or known[call] == number, call
