"""Studies of many runs: cell, plan, run, report."""
