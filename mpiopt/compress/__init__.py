"""Compressors, compressed allreduce, error feedback and the channel that algorithms use."""
