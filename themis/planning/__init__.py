"""Before a run: what the user wrote is checked and compiled into an immutable snapshot.

Nothing here calls a component's work or writes to a store.
"""
