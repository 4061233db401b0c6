"""Measurements: each figure beside the floor's, taken in the same run on the same machine."""
