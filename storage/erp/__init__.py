"""Documents for the ERP, its reports, and what differs."""
