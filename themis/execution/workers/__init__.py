"""Worker processes for components with ``cpu_bound = True``."""
