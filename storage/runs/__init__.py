"""Runs and commands as rows, the audit log, signs of life."""
