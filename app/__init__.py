"""Builds the application out of its settings: every process starts here."""
