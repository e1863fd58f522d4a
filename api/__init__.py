"""The HTTP API: a thin front door. Each endpoint reads the request, calls a service and shapes the answer."""
