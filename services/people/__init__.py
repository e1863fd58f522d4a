"""People, groups, sign-in, and replacing somebody."""
