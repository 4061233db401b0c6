"""What a damaged store says: never another number in silence, never a traceback.

    python -m benchmarks.damage [--tries N] [--seed N]

A store of several runs, with a judge, a corpus metric and a large answer, is damaged at random, in
its file or in the write-ahead log beside it: a bit flips, a range becomes zeros, two pages change
places, the end is cut off. Then every verb that reads is asked. It must tell the damage in one
line, or print what it printed of the whole store. The table counts by kind of damage what was told,
what was as before, and what failed: another figure in silence, a traceback, an error that is not
Themis's. The exit status is 1 where anything failed.

A write-ahead log that is not whole ends for SQLite where it is not, as after a power cut, and what
was committed before that is read. So a log's damage may also show the store as it was at an earlier
commit, which is counted as "earlier": the runs that it shows are those of a store that was there.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from themis.cli import main as themis
from themis.stores import sqlite_store

PAGE = 4096
CASES = 40
EARLIER = "earlier"
Harm = Callable[[random.Random, bytearray], None]
Said = tuple[int, str, str]
"""Exit status, standard output and standard error of a verb."""
CONFIG = """
generation:
  generator: {{use: builtin/demo_generator, params: {{accuracy: 0.6}}}}
  candidate_policy: {{num_samples: {samples}}}
evaluation:
  parsers: [builtin/text]
  metrics:
    - builtin/exact_match
    - builtin/bleu
    - {{use: builtin/llm_rubric, params: {{rubric: The answer is short.}}}}
  judge_models: [builtin/demo_judge]
storage: {{store: sqlite, parameters: {{path: runs.db}}}}
datasets: [{{path: cases.jsonl}}]
"""


def flip(rng: random.Random, data: bytearray) -> None:
    """Change one bit."""
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def zero(rng: random.Random, data: bytearray) -> None:
    """Set a range to zeros."""
    start, length = rng.randrange(len(data)), rng.choice([1, 16, 512, PAGE])
    data[start : start + length] = bytes(len(data[start : start + length]))


def swap(rng: random.Random, data: bytearray) -> None:
    """Let two pages change places."""
    first, second = (PAGE * rng.randrange(len(data) // PAGE) for _ in range(2))
    one, other = data[first : first + PAGE], data[second : second + PAGE]
    data[first : first + PAGE], data[second : second + PAGE] = other, one


def cut(rng: random.Random, data: bytearray) -> None:
    """Cut the end off."""
    del data[rng.randrange(len(data)) :]


HARMS: dict[str, Harm] = {"flip": flip, "zeros": zero, "swap": swap, "cut": cut}


class Sample:
    """A folder with a store, its config, and what each verb says of it.

    Args:
        folder: where it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        os.chdir(folder)
        with Path("cases.jsonl").open("w") as file:
            for number in range(CASES):
                padding = "x" * 80_000 if number == 7 else ""
                gold = str(number + 1 + number % 3 // 2)
                case = {
                    "case_id": f"c{number}",
                    "input": f"What is {number} + 1? {padding}",
                    "expected_output": gold,
                }
                file.write(json.dumps(case) + "\n")
        self.whole = self._made()
        self.verbs = self._verbs()

    def _made(self) -> dict[str, bytes]:
        """Run twice and return the files as they are before the log is moved into the store."""
        for number, samples in enumerate((1, 2), start=1):
            name = f"{number}.yaml"
            Path(name).write_text(CONFIG.format(samples=samples))
            holder = sqlite_store("runs.db")  # while it is open, the log stays
            code, _, said = ask(["run", "--config", name, "--no-progress"])
            assert code == 0, said
            files = {path: Path(path).read_bytes() for path in ("runs.db", "runs.db-wal")}
            holder.close()
        return files

    def _verbs(self) -> dict[str, tuple[str, ...]]:
        with contextlib.closing(sqlite_store("runs.db")) as store:
            first, last = (record.run_id for record in store.runs())
        return {
            "list": ("LIST",),
            "report": ("report", first, last),
            "report csv": ("report", last, "--format", "csv"),
            "report json": ("report", first, "--format", "json"),
            "quickcheck": ("quickcheck", first),
            "quickcheck --deep": ("quickcheck", last, "--deep"),
            "verify": ("verify", first),
            "state": ("inspect", "state", last),
            "snapshot": ("inspect", "snapshot", first),
            "case": ("inspect", "case", last, "c7"),
            "judges": ("inspect", "judges", first, "builtin/llm_rubric"),
            "export": ("export", "evaluation", last),
            "resume": ("resume", last, "--config", "2.yaml", "--no-progress"),
        }

    def restore(self, files: dict[str, bytes]) -> None:
        """Write the store's files, and nothing beside them."""
        for path in Path().glob("runs.db*"):
            path.unlink()
        for path, content in files.items():
            Path(path).write_bytes(content)

    def say(self, files: dict[str, bytes]) -> dict[str, Said]:
        """Return what each verb says of the files."""
        said = {}
        for verb, words in self.verbs.items():
            self.restore(files)
            said[verb] = ask(words)
        return said


def ask(words: Sequence[str]) -> Said:
    """Return what a verb says, in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if words == ("LIST",):
                with contextlib.closing(sqlite_store("runs.db")) as store:
                    print(*store.runs(), sep="\n")
                code = 0
            else:
                extra = () if words[0] in {"run", "resume"} else ("--store", "runs.db")
                themis([*words, *extra])
        except SystemExit as ended:
            code = int(ended.code or 0)
        except Exception as error:  # noqa: BLE001 - what users would see
            from themis.core.errors import ThemisError

            told = isinstance(error, ThemisError)
            code = 2 if told else 1
            print(error if told else f"unexpected {type(error).__name__}: {error}", file=err)
    out.flush()
    return code, _figures(out.buffer.getvalue().decode()), err.getvalue()  # type: ignore[attr-defined]


def _figures(text: str) -> str:
    """Return an output without what differs from one look to the next."""
    return re.sub(r'("exported_at"|"created_at"): ?[^,\n]*', "", text)


def verdict(found: Said, whole: Said) -> str:
    """Return what came of a verb: "told", "as before", or what failed."""
    code, out, err = found
    if "unexpected" in err or "Traceback" in err:
        return "traceback"
    if code == 0:
        return "as before" if out == whole[1] else "silent"
    return "told" if err.count("\n") >= 1 or whole[0] == code else "untold"


def main() -> None:
    """Damage, ask, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    table: Counter[tuple[str, str]] = Counter()
    failures: list[str] = []
    with TemporaryDirectory() as folder:
        sample = Sample(Path(folder))
        checkpointed = sample.folder / "runs.db"
        whole = sample.say(sample.whole)
        assert all(code == 0 for code, _, _ in whole.values())
        sample.restore(sample.whole)
        sqlite_store("runs.db").close()
        plain = {"runs.db": checkpointed.read_bytes()}
        for number in range(given.tries):
            name = rng.choice(list(HARMS))
            target = "runs.db-wal" if number % 5 == 4 else "runs.db"
            files = dict(sample.whole if target == "runs.db-wal" else plain)
            content = bytearray(files[target])
            HARMS[name](rng, content)
            files[target] = bytes(content)
            for verb, found in sample.say(files).items():
                came = verdict(found, whole[verb])
                if came == "silent" and target == "runs.db-wal":
                    came = EARLIER
                kind = f"{name}{' in the log' if target == 'runs.db-wal' else ''}"
                table[kind, came] += 1
                if came not in {"told", "as before", EARLIER}:
                    failures.append(f"try {number}, {kind}, {verb}: {came}: {found[2][-300:]}")
        os.chdir("/")
    columns = ["told", "as before", EARLIER, "silent", "traceback", "untold"]
    print("| damage | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for kind in sorted({kind for kind, _ in table}):
        print(f"| {kind} | " + " | ".join(str(table[kind, one]) for one in columns) + " |")
    print("\n".join(failures), file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
