"""Digests of users' code: whether a component still behaves as it did."""
