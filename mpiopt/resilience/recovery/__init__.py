"""The family of recovery strategies."""
