"""Where programs that nobody has read run: here, shut in (``local``), or elsewhere (``remote``).

It runs programs and says how they ended. What that means for a score is the metrics' to say.
"""
