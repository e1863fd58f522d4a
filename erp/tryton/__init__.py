"""Tryton, a whole ERP of its own: a server that is spoken to over HTTP alone."""
