"""What can run a frozen trunk: one file for each engine."""
