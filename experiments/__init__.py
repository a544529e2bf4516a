"""Studies of many runs, and the commands that start them: ``python -m experiments.<name> --help``."""
