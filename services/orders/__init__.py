"""Orders: splitting, steering, changing, returning, extending."""
