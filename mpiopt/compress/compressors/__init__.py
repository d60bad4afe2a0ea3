"""The family of compressors, one message format each."""
