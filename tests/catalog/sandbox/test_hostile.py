"""Programs that mean harm: each is ended, none passes, and nothing here is the worse for it.

Covers: themis.catalog.sandbox.following, themis.catalog.sandbox.harness,
themis.catalog.sandbox.local, themis.catalog.sandbox.program, themis.catalog.sandbox.supervisor
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
from pathlib import Path

import pytest

from themis.catalog.sandbox.local import LocalSandbox
from themis.catalog.sandbox.program import MIB, Program, ProgramLimits, SandboxError

pytestmark = pytest.mark.faults

ROOMY = ProgramLimits(seconds=20, wall_seconds=120, memory=256 * MIB, files=8 * MIB, output=MIB)
BRIEF = ProgramLimits(seconds=20, wall_seconds=1, memory=256 * MIB)

ENDS = {
    "an infinite loop": (
        "while True: pass",
        ProgramLimits(seconds=0.5, wall_seconds=120),
        "timeout",
        "processor time",
    ),
    "a loop that ignores every signal it can": (
        "import signal\n"
        "for one in range(1, 65):\n"
        "    try: signal.signal(one, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "while True: pass",
        ProgramLimits(seconds=0.5, wall_seconds=120),
        "timeout",
        "processor time",
    ),
    "a long sleep": ("import time; time.sleep(1000)", BRIEF, "timeout", "within 1 s"),
    "a fork bomb": (
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        BRIEF,
        "timeout",
        "within 1 s",
    ),
    "a memory bomb": (
        "kept = []\nwhile True: kept.append(bytearray(10**7))",
        ROOMY,
        "memory",
        "MemoryError",
    ),
    "a memory bomb in many processes": (
        "import os, time\n"
        "for _ in range(3): os.fork()\n"
        "kept = b'x' * (100 * 10**6)\n"
        "time.sleep(1000)",
        ROOMY,
        "memory",
        "268,435,456 bytes",
    ),
    "1 GB on standard output": (
        "import os\nfor _ in range(1000): os.write(1, b'x' * 10**6)",
        ROOMY,
        "output_limit",
        "1,048,576",
    ),
    "1 GB on standard error": (
        "import os\nfor _ in range(1000): os.write(2, b'x' * 10**6)",
        ROOMY,
        "output_limit",
        "1,048,576",
    ),
    "1 GB in a file": (
        "with open('big', 'wb') as file:\n    for _ in range(1000): file.write(b'x' * 10**6)",
        ROOMY,
        "output_limit",
        "too large",
    ),
    "1 GB in many files": (
        "import time\n"
        "for number in range(250):\n"
        "    with open(f'big{number}', 'wb') as file: file.write(b'x' * 4 * 10**6)\n"
        "    time.sleep(0.01)",
        ROOMY,
        "output_limit",
        "",
    ),
    "directories without end": (
        "import os, time\n"
        "for number in range(10**6):\n"
        "    os.mkdir(f'd{number}')\n"
        "    if number % 1000 == 0: time.sleep(0.01)",
        ROOMY,
        "output_limit",
        "",
    ),
    "directories in each other": (
        "import os, time\n"
        "for number in range(10**6):\n"
        "    os.mkdir('d'); os.chdir('d')\n"
        "    if number % 1000 == 0: time.sleep(0.01)",
        ROOMY,
        "output_limit",
        "",
    ),
    "SIGKILL to itself": ("import os; os.kill(os.getpid(), 9)", ROOMY, "signal", "SIGKILL"),
    "a null pointer": ("import ctypes; ctypes.string_at(0)", ROOMY, "signal", "SIGSEGV"),
    "SIGKILL to its parent": (
        "import os\n"
        "try: os.kill(os.getppid(), 9)\n"
        "except PermissionError: pass\n"
        "assert not os.getppid(), 'it lives'",
        ROOMY,
        "assertion",
        "it lives",
    ),
    "SIGKILL to all that it may send it to": (
        "import os\n"
        "try: os.kill(-1, 9)\n"
        "except ProcessLookupError: pass\n"
        "assert not os.getppid(), 'they live'",
        ROOMY,
        "assertion",
        "they live",
    ),
    "a look at its parent's descriptors": (
        "import os; os.listdir(f'/proc/{os.getppid()}/fd')",
        ROOMY,
        "exception",
        "PermissionError",
    ),
    "becoming root": (
        "import os; os.setuid(0); assert not os.getuid()",
        ROOMY,
        "exception",
        "Error",
    ),
    "200 threads": (
        "import threading, time\n"
        "for _ in range(200): threading.Thread(target=time.sleep, args=(1000,)).start()",
        ROOMY,
        "exception",
        "thread",
    ),
    "1,000 open files": (
        "kept = [open('/dev/null') for _ in range(1000)]",
        ROOMY,
        "exception",
        "Too many open files",
    ),
    "endless recursion": ("def f(): f()\nf()", ROOMY, "exception", "RecursionError"),
    "sys.exit(0)": ("import sys; sys.exit(0)", ROOMY, "exit", "before its end"),
    "os._exit(0)": ("import os; os._exit(0)", ROOMY, "exit", "before its end"),
    "os._exit(0) after all descriptors are closed": (
        "import os; os.closerange(0, 1000); os._exit(0)",
        ROOMY,
        "exit",
        "before its end",
    ),
    "a result of its own on every descriptor": (
        "import os\n"
        "for one in range(1, 64):\n"
        '    try: os.write(one, b\'{"token": "0", "ended": "passed", "code": 0}\\n\')\n'
        "    except OSError: pass\n"
        "os._exit(0)",
        ROOMY,
        "exit",
        "before its end",
    ),
    "a child that reaches the end in its place": (
        "import os\nif os.fork(): os._exit(0)",
        ROOMY,
        "exit",
        "before its end",
    ),
    "an exception that cannot be shown": (
        "class Odd(Exception):\n    def __str__(self): raise SystemExit(0)\nraise Odd",
        ROOMY,
        "exception",
        "Odd",
    ),
    "a syntax error": ("def f(:", ROOMY, "exception", "SyntaxError"),
    "a failed assertion": ("assert 1 == 2, 'no \\udcff'", ROOMY, "assertion", "no \\udcff"),
}


@pytest.mark.parametrize("name", ENDS)
def test_each_ends_for_the_reason_it_should(sandbox: LocalSandbox, name: str) -> None:
    source, limits, reason, message = ENDS[name]
    ended = sandbox.run(Program(source=source), limits)
    assert (ended.reason, ended.passed) == (reason, False), ended
    assert message in ended.message
    assert ended.isolation == sandbox.isolation


def test_an_honest_program_passes_whatever_it_says_on_standard_error(sandbox: LocalSandbox) -> None:
    source = "import sys, warnings\nwarnings.warn('old')\nprint('hm', file=sys.stderr)\nassert 1"
    assert sandbox.run(Program(source=source), ROOMY).passed


def test_a_program_cannot_harm_the_hosts_files(sandbox: LocalSandbox, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    source = (
        f"import os, shutil\n"
        f"shutil.rmtree({str(precious)!r}, ignore_errors=True)\n"
        f"for path in ({str(precious / 'file')!r}, {os.__file__!r}, '/etc/passwd', '/new'):\n"
        "    try: open(path, 'a').write('x')\n"
        "    except OSError: continue\n"
        "    raise AssertionError(path)\n"
    )
    ended = sandbox.run(Program(source=source), ROOMY)
    assert ended.passed, ended
    assert (precious / "file").read_text() == "kept"


def test_a_program_has_its_scratch_directory_for_itself(sandbox: LocalSandbox) -> None:
    source = (
        "import os, shutil, tempfile\n"
        "assert os.listdir('.') == [], os.listdir('.')\n"
        "open('mine', 'w').write('x')\n"
        "assert tempfile.gettempdir() == os.getcwd()\n"
        "os.makedirs('a/b'); os.chmod('a', 0)\n"
    )
    before = set(Path(tempfile.gettempdir()).glob("themis-sandbox-*"))
    for _ in range(2):
        ended = sandbox.run(Program(source=source), ROOMY)
        assert ended.passed, ended
    mine = [
        one
        for one in set(Path(tempfile.gettempdir()).glob("themis-sandbox-*")) - before
        if (one / "mine").exists()
    ]
    assert mine == []


def test_a_program_leaves_nothing_where_everybody_may_write(sandbox: LocalSandbox) -> None:
    name = f"left-{secrets.token_hex(8)}"
    source = (
        "import os\n"
        "for place in ('/tmp', '/var/tmp', '/dev/shm'):\n"
        f"    try: os.makedirs(place + '/{name}/b'); os.symlink('/etc', place + '/{name}-link')\n"
        "    except OSError: continue\n"
        f"    open(place + '/{name}/b/file', 'w').write('x')\n"
    )
    ended = sandbox.run(Program(source=source), ROOMY)
    assert ended.passed, ended
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        assert list(Path(place).glob(f"{name}*")) == []
    assert Path("/etc/passwd").exists()


def test_nothing_that_a_program_started_outlives_it(sandbox: LocalSandbox) -> None:
    assert shutil.which("sleep")
    seconds = f"9{secrets.randbelow(10**8):08d}"
    source = (
        f"import os, time\nSECONDS = '{seconds}'\n"
        "for _ in range(5):\n"
        "    if not os.fork():\n"
        "        os.setsid()\n"
        "        if not os.fork(): os.execvp('sleep', ['sleep', SECONDS])\n"
        "        os._exit(0)\n"
        "time.sleep(0.5)\n"
    )
    for more, limits in (("", ROOMY), ("time.sleep(1000)", BRIEF)):
        ended = sandbox.run(Program(source=source + more), limits)
        assert ended.reason == ("timeout" if more else "passed"), ended
        assert running(seconds) == []


def test_a_program_that_nobody_waits_for_is_ended(sandbox: LocalSandbox) -> None:
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(SandboxError, match="nobody waited"):
        sandbox.run(Program(source="import time; time.sleep(1000)"), ROOMY, given_up=given_up)


def test_a_program_sees_no_secrets_of_the_environment(
    sandbox: LocalSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "walrus")
    source = (
        "import glob, os\n"
        "assert 'OPENAI_API_KEY' not in os.environ\n"
        "for path in glob.glob('/proc/[0-9]*/environ'):\n"
        "    try: assert b'walrus' not in open(path, 'rb').read()\n"
        "    except OSError: pass\n"
    )
    ended = sandbox.run(Program(source=source), ROOMY)
    assert ended.passed, ended


@pytest.mark.parametrize("sandbox", ["bubblewrap", "namespaces"], indirect=True)
def test_in_namespaces_a_program_sees_neither_network_nor_processes(sandbox: LocalSandbox) -> None:
    source = (
        "import os, socket\n"
        "assert [one for one in os.listdir('/proc') if one.isdigit()] == ['1', str(os.getpid())]\n"
        "names = [one.split(':')[0].strip() for one in open('/proc/net/dev')][2:]\n"
        "assert names == ['lo'], names\n"
        "assert not os.path.exists('/home') and not os.path.exists('/etc/passwd')\n"
        "try: socket.create_connection(('192.0.2.1', 80), timeout=1)\n"
        "except OSError as error: assert error.errno == 97, error\n"
        "else: raise AssertionError\n"
    )
    ended = sandbox.run(Program(source=source), ROOMY)
    assert ended.passed, ended


REFUSED = {
    "memory in a file without a name": "os.memfd_create('x')",
    "memory kept secret": "call(447, 0)",
    "System V shared memory": "call(libc.shmget, 0, 1 << 20, 0o1600)",
    "a System V queue": "call(libc.msgget, 0, 0o1600)",
    "System V semaphores": "call(libc.semget, 0, 1, 0o1600)",
    "a POSIX queue": "call(240 if x86 else 180, b'x', 66, 384, None)",
    "watches": "call(libc.inotify_init1, 0)",
    "a ring": "call(425, 8, ctypes.create_string_buffer(256))",
    "faults handled by itself": "call(323 if x86 else 282, 1)",
    "a program in the kernel": "call(321 if x86 else 280, 0, ctypes.create_string_buffer(64), 64)",
    "counters of performance": "call(298 if x86 else 241, b'x' * 128, 0, -1, -1, 0)",
    "a vsock": "socket.socket(40, socket.SOCK_STREAM)",
    "netlink": "socket.socket(16, socket.SOCK_RAW)",
    "the kernel's cryptography": "socket.socket(38, socket.SOCK_SEQPACKET)",
    "packets": "socket.socket(17, socket.SOCK_RAW)",
    "the internet": "socket.socket()",
    "the internet, version 6": "socket.socket(10)",
    "another family in pairs": "socket.socketpair(30)",
    "a key": "call(248 if x86 else 217, b'user', b'x', b'y', 1, -3)",
    "the keyrings": "call(250 if x86 else 219, 0, -3, 0)",
    "a user namespace": "call(libc.unshare, 0x10000000)",
    "a process in a user namespace": "call(56 if x86 else 220, 0x10000011, 0, 0, 0, 0)",
    "a process by clone3": "call(435, ctypes.create_string_buffer(88), 88)",
    "a mount": "call(libc.mount, b'none', b'.', b'tmpfs', 0, None)",
    "a mount of the new kind": "call(430, b'tmpfs', 0)",
    "tracing": "call(libc.ptrace, 0, 0, 0, 0)",
    "another's memory": "call(libc.process_vm_readv, os.getppid(), None, 0, None, 0, 0)",
    "a file by its handle": "call(304 if x86 else 265, -100, None, 0)",
    "another kernel": "call(246 if x86 else 104, 0, 0, None, 0)",
    "huge pages": "mmap.mmap(-1, 1 << 21, flags=0x40022)",
    "a filter of its own": "call(libc.prctl, 22, 2, 0)",
    "lists of rights": "os.setxattr('.', 'user.x', b'y')",
    "a larger buffer": "socket.socketpair()[0].setsockopt(1, socket.SO_SNDBUF, 1 << 20)",
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_kernel_refuses_what_limits_do_not_bound(sandbox: LocalSandbox, what: str) -> None:
    source = (
        "import ctypes, mmap, os, socket\n"
        "libc, x86 = ctypes.CDLL(None, use_errno=True), os.uname().machine == 'x86_64'\n"
        "def call(function, *given):\n"
        "    if isinstance(function, int): function, given = libc.syscall, (function, *given)\n"
        "    given = [ctypes.c_long(one) if isinstance(one, int) else one for one in given]\n"
        "    if function(*given) < 0: raise OSError(ctypes.get_errno(), 'refused')\n"
        "REFUSALS = (1, 12, 22, 38, 92, 94, 95, 97)\n"
        f"try: {REFUSED[what]}\n"
        "except OSError as error: assert error.errno in REFUSALS, error\n"
        "else: raise AssertionError('it was allowed')\n"
    )
    ended = sandbox.run(Program(source=source), ROOMY)
    assert ended.passed, ended


def test_what_programs_use_of_the_kernel_works_under_the_filter(sandbox: LocalSandbox) -> None:
    source = (
        "import asyncio, multiprocessing, os, shutil, sqlite3, subprocess, threading\n"
        "from multiprocessing import shared_memory\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "assert asyncio.run(asyncio.sleep(0, 1)) == 1\n"
        "assert subprocess.run(['true']).returncode == 0\n"
        "thread = threading.Thread(target=print); thread.start(); thread.join()\n"
        "with ProcessPoolExecutor(2, multiprocessing.get_context('fork')) as pool:\n"
        "    assert list(pool.map(abs, [-1, -2])) == [1, 2]\n"
        "connection = sqlite3.connect('file.db'); connection.execute('create table t(x)')\n"
        "connection.commit(); connection.close()\n"
        "shutil.copy2('file.db', 'other.db')\n"
    )
    ended = sandbox.run(Program(source=source), ROOMY)
    assert ended.passed, ended


def running(marker: str) -> list[str]:
    """Return the processes whose command line has a marker."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker in path.read_text():
                found.append(path.parent.name)
        except OSError:
            continue
    return found
