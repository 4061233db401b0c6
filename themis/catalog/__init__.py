"""The parts that come with Themis: "builtin/..." ids, one file per kind, and the data-file reader.

Nothing here knows how a run is carried out, and nothing is imported before it is asked for by id.
"""
