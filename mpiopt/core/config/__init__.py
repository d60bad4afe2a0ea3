"""Jobs, flags, the command table and the registry of plug-ins."""
