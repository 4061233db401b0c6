"""A dry run: what a run would do, and why."""
