"""The family of data formats, one reader each."""
