"""What differs between two runs or experiments, and why a step has another key."""
