"""Runs: the command path, what applies commands, and what looks after both."""
