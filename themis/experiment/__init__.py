"""The front door: an experiment is written down, compiled, run, and its results are looked at."""
