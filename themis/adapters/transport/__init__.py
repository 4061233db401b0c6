"""How requests travel: connections, secrets, rate limits, and what errors mean for a run."""
