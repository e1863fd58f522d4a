"""Dealwright beside applications that do the same job: see README.md in this folder."""
