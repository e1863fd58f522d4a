"""Ways in besides the API and the console: mail replies."""
