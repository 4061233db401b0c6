"""Numbers in, numbers out: what a run's figures mean, and how sure one may be.

It is given summaries and gives intervals and tables; it reads no store and draws no page. numpy and
scipy are loaded by the functions that need them.
"""
