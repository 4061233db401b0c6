"""Metrics that ask no judge: they compare an answer with the gold answer, run it, or count it."""
