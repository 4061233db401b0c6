"""Parsers: what reads an answer out of a model's output."""
