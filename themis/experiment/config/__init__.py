"""Experiments from YAML and TOML files."""
