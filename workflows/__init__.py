"""Durable processes. They import names, types and rules only; whatever touches the world is an activity."""
