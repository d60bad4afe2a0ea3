"""Tables of words, gaps, dates and numbers: read in parallel, and encoded as features with names."""
