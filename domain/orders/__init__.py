"""From an accepted quote to orders: how it is split, what is left, and what one order goes through."""
