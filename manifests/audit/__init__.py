"""Looking after datasets: verify, repair, merge, count, and say who is owed credit."""
