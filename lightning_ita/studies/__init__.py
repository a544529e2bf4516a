"""Studies of many runs: cells, plans, running them, tables and reports."""
