"""Any JSON endpoint: the body by template, the answer by path."""
