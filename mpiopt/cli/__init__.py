"""The command line: dispatch, help, list, doctor."""
