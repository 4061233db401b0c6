"""Run `make demo` and `make test` in fresh clones wherever users put them, as root and as another.

    python .ci/places.py [tests ...]

What is committed is cloned: below the system's temporary folder, in the user's home, in a folder
whose name has spaces and letters beyond ASCII, with TMPDIR set elsewhere, and without bubblewrap
and strace, which are hidden in a mount namespace. Root's environment is made of the Python on the
PATH, which may be root's alone; the other user's of the system's. Each is installed once, and then
linked into the clones, so that the interpreter lies in each of them (`--made` keeps them on the
file system of /opt for the next time). The other user is made for the purpose. Logs are kept in
`places-out/`. Needs Linux, root, and util-linux.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "places-out"
PLACES = ("temporary", "home", "odd-name", "tmpdir", "no-tools")
USERS = ("root", "other")
OTHER = "themis-places"
TOOLS = ("bwrap", "strace")
CLOSING = 12


class User(NamedTuple):
    """Who runs the commands, with which Python."""

    kind: str
    python: str
    path: str

    @property
    def account(self) -> pwd.struct_passwd:
        return pwd.getpwnam("root" if self.kind == "root" else OTHER)

    def command(self, words: list[str], *, tools: bool = True, **environment: str) -> list[str]:
        """Return a command as this user runs it."""
        name, _, uid, gid, _, home, _ = self.account
        settings = {"HOME": home, "USER": name, "PATH": self.path, "LANG": "C.UTF-8", **environment}
        settings |= {key: text for key, text in os.environ.items() if key.startswith("PIP_")}
        clean = ["env", "-i", *(f"{key}={text}" for key, text in settings.items()), *words]
        who = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--init-groups", *clean]
        if tools:
            return who
        found = [path for name in TOOLS if (path := shutil.which(name)) is not None]
        hide = "".join(f"mount --bind /dev/null '{path}' && " for path in found)
        return ["unshare", "--mount", "sh", "-c", hide + 'exec "$@"', "sh", *who]


@contextmanager
def other_user() -> Iterator[None]:
    """Make the other user for a while, unless there is one."""
    try:
        pwd.getpwnam(OTHER)
    except KeyError:
        subprocess.run(["useradd", "--create-home", "--user-group", OTHER], check=True)
    else:
        yield
        return
    try:
        yield
    finally:
        subprocess.run(["userdel", "--remove", OTHER], check=True, capture_output=True)


def clone(to: Path, user: User) -> None:
    """Clone what is committed, as the user's own."""
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(to)], check=True)
    _give(to, user)


def _give(folder: Path, user: User) -> None:
    owner = f"{user.account.pw_uid}:{user.account.pw_gid}"
    subprocess.run(["chown", "--recursive", "--no-dereference", owner, str(folder)], check=True)


def made_once(folder: Path, user: User) -> Path:
    """Install the environment that a user's clones are given, unless it is there."""
    if not folder.exists():
        clone(folder, user)
    words = ["make", "-C", str(folder), f"PYTHON={user.python}"]
    subprocess.run(user.command([*words, ".venv/.stamp-dev", ".venv/.stamp-demo"]), check=True)
    return folder


def link_environment(made: Path, to: Path, user: User) -> None:
    """Give a clone the environment as if it had been installed there."""
    subprocess.run(["cp", "-al", str(made / ".venv"), str(to / ".venv")], check=True)
    changed = [*to.glob(".venv/lib/*/site-packages/*themis*.pth"), to / ".venv" / "pyvenv.cfg"]
    for path in changed:
        text = path.read_text().replace(str(made), str(to))
        path.unlink()  # it is the other's too
        path.write_text(text)
    _give(to, user)
    for stamp in (to / ".venv").glob(".stamp-*"):
        stamp.touch()


def folder_of(place: str, user: User, temporary: Path) -> Path:
    """Return where a place's clone goes."""
    if place == "home":
        return Path(user.account.pw_dir, "themis-places")
    below = Path(tempfile.gettempdir() if place == "temporary" else "/opt", temporary.name)
    return below / user.kind / {"odd-name": "mit Räumen 环境 'n"}.get(place, place)


def try_place(place: str, user: User, made: Path, temporary: Path, tests: list[str]) -> bool:
    """Run both commands in a place, print how they ended, and return whether well."""
    folder = folder_of(place, user, temporary)
    folder.parent.mkdir(parents=True, exist_ok=True)
    clone(folder, user)
    link_environment(made, folder, user)
    settings = {}
    if place == "tmpdir":
        elsewhere = folder / "elsewhere, for é"
        elsewhere.mkdir()
        _give(elsewhere, user)
        settings["TMPDIR"] = str(elsewhere)
    well = True
    few = [f"TESTS={' '.join(tests)}"] if tests else []
    for goal in (["demo", *(["QUESTIONS=4"] if few else [])], ["test", *few]):
        words = ["make", f"PYTHON={user.python}", *goal]
        command = user.command(words, tools=place != "no-tools", **settings)
        log = LOGS / f"{place}-{user.kind}-{goal[0]}.log"
        begun = time.monotonic()
        with log.open("w") as file:
            ended = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
            )
        well &= ended.returncode == 0
        said = "passed" if ended.returncode == 0 else f"FAILED ({log})"
        taken = f"{time.monotonic() - begun:.0f} s"
        print(f"── {place}, {user.kind}: make {goal[0]} {said} in {taken}: {folder}", flush=True)
        lines = [one for one in log.read_text(errors="replace").splitlines() if "%]" not in one]
        print("\n".join(f"   {one[:200]}" for one in lines[-CLOSING:]), flush=True)
    shutil.rmtree(folder)
    return well


def main() -> int:
    """Try every place with every user; fail if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", help="what make test runs there, the demo being short")
    parser.add_argument("--places", default=",".join(PLACES), help="some of them, by commas")
    parser.add_argument("--users", default=",".join(USERS), help="root, other, or both")
    parser.add_argument("--made", type=Path, help="a folder to keep the two environments in")
    asked = parser.parse_args()
    if os.geteuid() != 0:
        print("error: only root can run commands as another user too", file=sys.stderr)
        return 1
    system = "/usr/local/bin:/usr/bin:/bin"
    users = {
        "root": User("root", "python3", os.environ["PATH"]),
        "other": User("other", "python3", system),
    }
    LOGS.mkdir(exist_ok=True)
    well = True
    with other_user(), tempfile.TemporaryDirectory(prefix="themis-places-") as name:
        temporary = Path(name)
        temporary.chmod(0o755)
        below = Path("/opt", temporary.name)
        try:
            for kind in asked.users.split(","):
                # On the file system that most clones are on, for the links.
                made = made_once((asked.made or below) / kind / "made", users[kind])
                for place in asked.places.split(","):
                    well &= try_place(place, users[kind], made, temporary, asked.tests)
        finally:
            shutil.rmtree(below, ignore_errors=True)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
