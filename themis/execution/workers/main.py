"""The main function of a worker process: calls of ``cpu_bound`` components, one after the other.

A component is unpickled at its first call, which imports its module; the user's script is not run
again. Output that user code prints goes to standard error, since standard output is a pipe to the
parent.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import struct
import threading
import traceback
from queue import SimpleQueue
from typing import IO, Any

from themis.execution.failures import EXHAUSTED, as_storable, is_retryable, said, says_unparsed

HEADER = struct.Struct(">Q")
READY = b"ready"
_GRACE = 10.0
"""If the parent is gone, a call ends by itself this many seconds after its time limit."""
_FRAMES = 12


def main() -> None:
    """Answer requests until the parent closes the pipe; never returns."""
    requests, answers = _own_pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    waiting: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
    threading.Thread(target=_receive, args=(requests, waiting), daemon=True).start()
    process = os.getpid()
    components: dict[str, Any] = {}
    silence = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    send(answers, READY)
    while True:
        seconds, request = waiting.get()
        if seconds:  # works even if the interpreter is stuck
            limit = min(seconds + _GRACE, threading.TIMEOUT_MAX)
            faulthandler.dump_traceback_later(limit, exit=True, file=silence)
        answer = _answer(components, request)
        if os.getpid() != process:  # a process forked by user code must not answer
            os._exit(0)
        faulthandler.cancel_dump_traceback_later()
        send(answers, answer)


def send(pipe: IO[bytes], data: bytes) -> None:
    """Write one message."""
    pipe.write(HEADER.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes:
    """Read one message.

    Raises:
        EOFError: the pipe is closed, perhaps within a message.
    """
    size = HEADER.unpack(_exactly(pipe, HEADER.size))[0]
    return _exactly(pipe, size)


def load(data: bytes) -> Any:
    """Return the object that the worker or its parent pickled."""
    return pickle.loads(data)  # noqa: S301 - only these two processes write to the pipes


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, answers


def _receive(requests: IO[bytes], waiting: SimpleQueue[tuple[float, bytes]]) -> None:
    """Receive requests; exit the process at once when the parent is gone."""
    while True:
        try:
            seconds = struct.unpack(">d", receive(requests))[0]
            waiting.put((seconds, receive(requests)))
        except (EOFError, OSError):
            os._exit(0)


def _answer(components: dict[str, Any], request: bytes) -> bytes:
    try:
        value = _do(components, *load(request))
    except BaseException as error:  # noqa: BLE001 - the boundary to user code
        return pickle.dumps((False, _described(error)))
    try:
        return pickle.dumps((True, value))
    except Exception as error:  # noqa: BLE001 - user code's value may fail in any way
        what = f"{type(value).__name__} was returned, which cannot be pickled: {said(error)}"
        return pickle.dumps((False, {**_described(error), "message": what, "kind": "result"}))


def _do(components: dict[str, Any], name: str, target: Any, method: str | None, args: Any) -> Any:
    """Load a component, or call a method of a component or of an object in the request."""
    if method is None:
        components[name] = load(target)
        return None
    obj = components[name] if target is None else target
    return getattr(obj, method)(*args)


def _described(error: BaseException) -> dict[str, Any]:
    """Return an exception as data, since many exceptions cannot be pickled and unpickled."""
    kind = "error" if isinstance(error, Exception) else "exit"
    if isinstance(error, MemoryError):
        kind = "memory"
    reason = getattr(error, "reason", None)
    return {
        "kind": kind,
        "name": type(error).__name__,
        "message": said(error),
        "traceback": _shown(error),
        "timeout": isinstance(error, TimeoutError),
        "exhausted": isinstance(error, EXHAUSTED),
        "unparsed": says_unparsed(error),
        "retryable": is_retryable(error),
        "reason": None if reason is None else as_storable(str(reason)),
    }


def _shown(error: BaseException) -> str | None:
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__
    ]
    if not frames:
        return None
    return as_storable("".join(traceback.format_list(frames[-_FRAMES:])).rstrip())
