"""The ERP: documents out, reports in, and what differs."""
