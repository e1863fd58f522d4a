"""Orders, their ledger, and what follows from their steps."""
