"""Where and how an attempt ran: true facts of this process, read and never guessed."""

from __future__ import annotations

import platform
import socket
import subprocess
import time
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from typing import Any

from themis.core.base import running_version
from themis.core.redaction import redact
from themis.core.snapshot import Provenance

_WATCHED = ("pydantic", "orjson", "jinja2", "numpy", "scipy", "openai", "langgraph", "genai-prices")


def collect(
    *,
    environment: Mapping[str, Any],
    code: Mapping[str, str | None],
    settings: Mapping[str, Any] = {},
    store: str | None = None,
    runtime: Mapping[str, Any] | None = None,
    plugins: Mapping[str, str] | None = None,
) -> Provenance:
    """Return this process's provenance.

    Args:
        environment: the experiment's ``environment_metadata``; secrets are hidden.
        code: digest of each user component's code, by role and name.
        settings: what each component says its fingerprint covers; secrets are hidden.
        store: what kind of store the run is kept in.
        runtime: the runtime settings that differ from their defaults.
        plugins: name and version of each package whose plug-ins the run uses.
    """
    commit, dirty = _git()
    return Provenance(
        themis=running_version(),
        python=platform.python_version(),
        platform=platform.platform(),
        host=socket.gethostname(),
        at=time.time(),
        git_commit=commit,
        git_dirty=dirty,
        dependencies={name: version for name in _WATCHED if (version := _version(name))}
        | dict(plugins or {}),
        store=store,
        runtime=dict(runtime or {}),
        environment=redact(dict(environment)),
        code=dict(code),
        settings=redact(dict(settings)),
    )


@lru_cache(maxsize=64)
def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _git() -> tuple[str | None, bool | None]:
    """Return commit and whether the work tree differs from it; Nones outside a repository."""
    commit = _ask_git("rev-parse", "HEAD")
    if commit is None:
        return None, None
    status = _ask_git("status", "--porcelain", "--untracked-files=no")
    return commit, None if status is None else bool(status)


def _ask_git(*words: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *words], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
