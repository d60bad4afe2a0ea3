"""From files to shards: formats, loading, redistribution, scaling, labels."""
