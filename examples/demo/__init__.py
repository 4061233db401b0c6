"""The demo: a real benchmark, a real (small) model, one machine, no keys."""
