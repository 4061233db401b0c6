"""Runnable examples; each file states what it shows."""
