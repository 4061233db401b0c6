"""Doing: a compiled run is carried through the stages, and every step is journaled.

``stage.py`` is the only place that knows how a step is taken; ``case.py`` carries one case through
the stages; ``runner.py`` opens or resumes the run and keeps many cases moving.
"""
