"""Answers about a run, folded from its journal.

Every view is a pure fold: it is given events, or a store to stream them from, and keeps no file,
no clock and no state of its own. A fold may stop after any event and go on later with the same
result, and the order of cases does not matter. Views say what happened; what it means, with what
uncertainty, is analysis.
"""
