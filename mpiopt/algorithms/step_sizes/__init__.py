"""Step-size rules: how ranks with steps of their own agree on one step."""
