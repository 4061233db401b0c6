"""Reports of runs, as Markdown, HTML, LaTeX, JSON or CSV.

``facts`` reads what a report tells, ``contents`` puts it into sections, and one module a format
writes the sections down. A new format is one such module and a line in ``reporter``.
"""

from themis.reporting.reporter import Reporter

__all__ = ["Reporter"]
