"""Customers seen whole, and their revenue."""
