"""The parameter servers of the failure study: configurations, networks, rules for backlogs, and their runtime."""
