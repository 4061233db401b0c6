"""Answers about a run, folded from its journal.

Every view is a pure fold: its result depends on the events alone, and no view keeps a file, a clock
or global state. A fold may pause after any event and continue later with the same result, and the
order of cases does not matter. Views report what happened; intervals and other statistics are
computed in ``themis.analysis``.
"""
