"""Letters and other messages."""
