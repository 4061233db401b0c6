"""Limits of endpoints: concurrency, rates, and the budget of a run."""
