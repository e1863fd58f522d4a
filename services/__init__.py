"""The use cases. Every front door (API, console, CLI) calls these and nothing below them."""
