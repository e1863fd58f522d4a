"""People, groups and replacements."""
