"""The ERP: one port, and an adapter for each system behind it."""
