"""Generators that ask nobody: the demo, and answers that were made elsewhere."""
