"""What the SQLite store asks of its file, and what it forgets: the longer statements, by name.

Text only: they are filled in and carried out in ``sqlite.py``. What they rest on is the schema.
"""

from __future__ import annotations

EVENTS = """
    SELECT e.seq, e.attempt, e.kind, e.case_index, e.key, e.version, e.at, e.meta,
        a.at, a.code, a.run, a.payload, b.data
    FROM events e{index}
    LEFT JOIN artifacts a ON a.key = e.key AND a.version = e.version
    LEFT JOIN blobs b ON b.digest = a.blob
    WHERE e.run = (SELECT ref FROM runs WHERE run_id = ?)
"""
LATEST = """
    SELECT a.key, max(a.version), a.at, a.code, a.run, a.payload, b.data
    FROM artifacts a LEFT JOIN blobs b ON b.digest = a.blob
    WHERE a.key IN ({marks}) GROUP BY a.key
"""
CASES = """
    SELECT m.position, m.case_id, c.payload, b.data
    FROM manifests m
    JOIN cases c ON c.digest = m.digest
    LEFT JOIN blobs b ON b.digest = c.blob
    WHERE m.dataset = (SELECT ref FROM datasets WHERE fingerprint = ?)
        AND m.position >= ? AND m.position < ?
    ORDER BY m.position
"""
# Through the manifest, whose rows are short: an index of ids would be written for every case.
FIND_CASE = """
    SELECT position FROM manifests
    WHERE dataset = (SELECT ref FROM datasets WHERE fingerprint = ?) AND case_id = ?
    ORDER BY position LIMIT 1
"""
FORGET = (
    "DELETE FROM events WHERE run = :run",
    # Version 0 of a key stays while a later one does: an append that finds it free would take the
    # whole key for free.
    """DELETE FROM artifacts WHERE id NOT IN (
            SELECT a.id FROM events e JOIN artifacts a ON a.key = e.key AND a.version = e.version)
        AND (version > 0 OR key NOT IN (SELECT key FROM events WHERE key IS NOT NULL))""",
    "UPDATE artifacts SET run = NULL WHERE run = :run",
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
)
