"""Where the cells of a plan run."""
