"""What judges decide: rubric metrics, pairwise comparison, selection, and how verdicts are read."""
