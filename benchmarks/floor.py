"""The floor: what the plainest program would cost that keeps the same rows.

asyncio, a semaphore, the same JSON library, the same tables and indices in the same batched SQLite
transactions, and nothing else: no keys worth the name, no validation, no resuming. What Themis
costs beyond this is what it gives.

    python -m benchmarks.floor CASES PATH [IN_FLIGHT]
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time

import orjson

SCHEMA = """
CREATE TABLE events (run INTEGER, seq INTEGER, attempt INTEGER, kind INTEGER, case_index INTEGER,
    key BLOB, version INTEGER, at REAL, meta BLOB, PRIMARY KEY (run, seq)) WITHOUT ROWID;
CREATE INDEX events_by_case ON events (run, case_index, seq) WHERE case_index IS NOT NULL;
CREATE TABLE artifacts (id INTEGER PRIMARY KEY, key BLOB, version INTEGER, code BLOB, at REAL,
    run INTEGER, payload BLOB, blob BLOB, UNIQUE (key, version));
CREATE TABLE cases (digest BLOB PRIMARY KEY, payload BLOB, blob BLOB);
CREATE TABLE manifests (dataset INTEGER, position INTEGER, case_id TEXT, digest BLOB,
    PRIMARY KEY (dataset, position)) WITHOUT ROWID;
"""
BATCH = 512
IN_FLIGHT = 32


class Sink:
    """Gathers rows and writes them in transactions of a few hundred events."""

    def __init__(self, path: str) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.executescript(SCHEMA)
        self.events: list[tuple[object, ...]] = []
        self.artifacts: list[tuple[object, ...]] = []
        self.cases: list[tuple[object, ...]] = []
        self.manifests: list[tuple[object, ...]] = []
        self.seq = 0

    def case(self, index: int, case: dict[str, object]) -> None:
        """Keep a case and its place in the dataset."""
        digest = os.urandom(16)
        self.cases.append((digest, orjson.dumps(case), None))
        self.manifests.append((1, index, f"c{index}", digest))

    def step(self, index: int, payload: dict[str, object]) -> None:
        """Keep one step: an artifact under a random key, and the event that tells of it."""
        key, now = os.urandom(16), time.time()
        self.artifacts.append((key, 0, None, now, 1, orjson.dumps(payload), None))
        meta = orjson.dumps([1, 0, "builtin/exact_match", f"c{index}", {"ms": 0.01}])
        self.event(index, 2, key, meta, now)

    def end(self, index: int) -> None:
        """Keep the event that tells of a case's end."""
        meta = orjson.dumps({"through": "judge", "outages": 0, "generated": 1})
        self.event(index, 4, None, meta, time.time())

    def event(self, index: int, kind: int, key: bytes | None, meta: bytes, at: float) -> None:
        """Keep one event."""
        self.seq += 1
        self.events.append((1, self.seq, 1, kind, index, key, 0, at, meta))
        if len(self.events) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered, in one transaction."""
        db = self.db
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO cases VALUES (?,?,?)", self.cases)
        db.executemany("INSERT INTO manifests VALUES (?,?,?,?)", self.manifests)
        db.executemany("INSERT INTO artifacts VALUES (NULL,?,?,?,?,?,?,?)", self.artifacts)
        db.executemany("INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?)", self.events)
        db.execute("COMMIT")
        self.events, self.artifacts, self.cases, self.manifests = [], [], [], []

    def close(self) -> None:
        """Write what is left and close the file."""
        self.flush()
        self.db.close()


async def answer(question: object) -> object:
    """The trivial model: the question."""
    return question


async def run(cases: int, path: str, in_flight: int) -> None:
    """Answer and score every case, and keep the rows."""
    sink = Sink(path)
    gate = asyncio.Semaphore(in_flight)

    async def one(index: int) -> None:
        case = {"input": {"q": f"{index}+1"}, "expected_output": {"q": f"{index}+1"}}
        async with gate:
            sink.case(index, case)
            output = await answer(case["input"])
            sink.step(index, {"candidate_id": f"c{index}", "final_output": output})
            sink.step(index, {"value": output})
            sink.step(index, {"value": int(output == case["expected_output"])})
            sink.end(index)

    for start in range(0, cases, in_flight):
        await asyncio.gather(*(one(index) for index in range(start, min(start + in_flight, cases))))
    sink.close()


def size_of(path: str) -> int:
    """Return the bytes of a database, those still in its write-ahead log included."""
    log = f"{path}-wal"
    return os.path.getsize(path) + (os.path.getsize(log) if os.path.exists(log) else 0)


def bytes_written() -> int:
    """Return the bytes that this process has handed to the kernel; 0 where nothing tells."""
    try:
        with open("/proc/self/io") as counts:
            return next(int(line.split()[1]) for line in counts if line.startswith("wchar"))
    except OSError:
        return 0


def main() -> None:
    """Run and print the figures as JSON."""
    cases, path = int(sys.argv[1]), sys.argv[2]
    in_flight = int(sys.argv[3]) if len(sys.argv) > 3 else IN_FLIGHT
    written, cpu, wall = bytes_written(), time.process_time(), time.perf_counter()
    asyncio.run(run(cases, path, in_flight))
    print(
        json.dumps(
            {
                "cpu_s": time.process_time() - cpu,
                "wall_s": time.perf_counter() - wall,
                "written": bytes_written() - written,
                "bytes": size_of(path),
            }
        )
    )


if __name__ == "__main__":
    main()
