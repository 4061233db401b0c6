"""What runs in a worker process: calls of ``cpu_bound`` components, one after the other.

A component is loaded when its first call comes, with what its module imports; the user's script is
never run again here. What user code prints goes to standard error: the pipes are not its own.
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

from themis.execution.failures import as_storable, is_retryable, said

HEADER = struct.Struct(">Q")
READY = b"ready"
_GRACE = 10.0
"""Seconds after its limit at which a call whose parent is gone ends by itself."""
_FRAMES = 12


def main() -> None:
    """Answer requests until there are no more; never returns."""
    requests, answers = _own_pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
    waiting: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
    threading.Thread(target=_receive, args=(requests, waiting), daemon=True).start()
    process = os.getpid()
    components: dict[str, Any] = {}
    silence = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    send(answers, READY)
    while True:
        seconds, request = waiting.get()
        if seconds:  # the watchdog needs nothing of the interpreter, which may be stuck
            limit = min(seconds + _GRACE, threading.TIMEOUT_MAX)
            faulthandler.dump_traceback_later(limit, exit=True, file=silence)
        answer = _answer(components, request)
        if os.getpid() != process:  # a fork that user code left: it has nobody to answer
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
        EOFError: there is none any more, or not the whole of it.
    """
    size = HEADER.unpack(_exactly(pipe, HEADER.size))[0]
    return _exactly(pipe, size)


def load(data: bytes) -> Any:
    """Return what a worker or its parent pickled for the other."""
    return pickle.loads(data)  # noqa: S301 - nobody else writes to their pipes


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
    """Take requests; when the parent is gone, so is this process, whatever it is doing."""
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
    """Load a component, or call a method of one, or of an object that came with the request."""
    if method is None:
        components[name] = load(target)
        return None
    obj = components[name] if target is None else target
    return getattr(obj, method)(*args)


def _described(error: BaseException) -> dict[str, Any]:
    """Return an exception as data: many cannot be pickled, or not be made again from it."""
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
