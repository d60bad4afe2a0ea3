"""The family of losses."""
