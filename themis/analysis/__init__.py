"""Statistics of a run's results: intervals, agreement of judges, ratings, tables.

The functions are given summaries or verdicts and read no store. numpy and scipy are loaded by the
functions that need them.
"""
