"""What workflows ask of the world: thin, with their adapters handed in."""
