"""The kit for those who extend Themis: contract suites to prove a component of one's own with.

Nothing in the package imports from here, and nothing here imports an implementation: a suite knows
a component only by its protocol. The suites need pytest.
"""
