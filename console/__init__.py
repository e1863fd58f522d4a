"""The pages: Jinja2 and htmx, usable without JavaScript."""
