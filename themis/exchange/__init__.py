"""Exporting runs as bundles, importing bundles, and importing outputs made elsewhere."""
