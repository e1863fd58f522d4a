"""Quotes: drafts, submissions and comments."""
