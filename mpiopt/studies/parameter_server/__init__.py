"""The parameter server of the failure study."""
