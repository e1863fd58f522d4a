"""Customers, facts, contracts and books."""
