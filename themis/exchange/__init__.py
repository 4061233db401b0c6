"""What leaves a store, and comes back into another: bundles of a run's work."""
