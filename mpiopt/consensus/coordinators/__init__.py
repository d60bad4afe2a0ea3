"""The family of consensus protocols."""
