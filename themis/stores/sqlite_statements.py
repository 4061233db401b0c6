"""The longer SQL statements of the SQLite store, by name.

They are filled in and executed in ``sqlite.py``; the tables are in ``sqlite_schema.py``.
"""

from __future__ import annotations

from themis.stores.sqlite_checks import CASES_OF, DATASET, EVENTS_OF, RARE_OF, RUN, SNAPSHOT

EVENTS = """
    SELECT e.seq, e.attempt, e.kind, e.case_index, e.key, e.version, e.at, e.meta, e.mark,
        a.at, a.code, a.run, a.payload, a.blob, a.mark, b.data
    FROM events e{index}
    LEFT JOIN artifacts a ON a.key = e.key AND a.version = e.version
    LEFT JOIN blobs b ON b.digest = a.blob
    WHERE e.run = ?
"""
LATEST = """
    SELECT a.key, max(a.version), a.at, a.code, a.run, a.payload, a.blob, a.mark, b.data
    FROM artifacts a LEFT JOIN blobs b ON b.digest = a.blob
    WHERE a.key IN ({marks}) GROUP BY a.key
"""
CASES = """
    SELECT m.position, m.case_id, m.digest, m.mark, c.payload, c.blob, c.mark, b.data
    FROM manifests m
    LEFT JOIN cases c ON c.digest = m.digest
    LEFT JOIN blobs b ON b.digest = c.blob
    WHERE m.dataset = ?
        AND m.position >= ? AND m.position < ?
    ORDER BY m.position
"""
# Scans the manifest, whose rows are short; an index of ids would have to be written for every case.
FIND_CASE = """
    SELECT position FROM manifests
    WHERE dataset = ? AND case_id = ?
    ORDER BY position LIMIT 1
"""
FORGET = (
    "DELETE FROM events WHERE run = :run",
    # Version 0 of a key is kept while a later version is: an append that can insert version 0
    # assumes that the key is new.
    """DELETE FROM artifacts WHERE id NOT IN (
            SELECT a.id FROM events e JOIN artifacts a ON a.key = e.key AND a.version = e.version)
        AND (version > 0 OR key NOT IN (SELECT key FROM events WHERE key IS NOT NULL))""",
    "UPDATE artifacts SET mark = mark - run, run = NULL WHERE run = :run",
    """DELETE FROM datasets WHERE
        fingerprint IN (SELECT fingerprint FROM run_datasets WHERE run = :run)
        AND fingerprint NOT IN (SELECT fingerprint FROM run_datasets WHERE run <> :run)""",
    "DELETE FROM run_datasets WHERE run = :run",
    "DELETE FROM manifests WHERE dataset NOT IN (SELECT ref FROM datasets)",
    "DELETE FROM cases WHERE digest NOT IN (SELECT digest FROM manifests)",
    """DELETE FROM blobs WHERE asked = 0
        AND digest NOT IN (SELECT blob FROM artifacts WHERE blob IS NOT NULL)
        AND digest NOT IN (SELECT blob FROM cases WHERE blob IS NOT NULL)""",
    "DELETE FROM runs WHERE ref = :run",
    f"""DELETE FROM checks
        WHERE kind IN ({EVENTS_OF}, {RARE_OF}, {RUN}, {SNAPSHOT}) AND owner = :run""",
    f"""DELETE FROM checks WHERE kind IN ({CASES_OF}, {DATASET})
        AND owner NOT IN (SELECT ref FROM datasets)""",
)
