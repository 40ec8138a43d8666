"""Where networks come from, one file per origin."""
