"""The family of compressors, one wire format each."""
