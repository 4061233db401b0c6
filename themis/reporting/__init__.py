"""Telling others what came of a run: one renderer a format, over views and analysis.

A renderer puts facts into words and computes none; what every renderer tells is gathered once, in
``facts``. No renderer loads anything from elsewhere when it is read.
"""

from themis.reporting.reporter import Reporter

__all__ = ["Reporter"]
