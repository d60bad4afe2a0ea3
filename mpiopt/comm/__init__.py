"""Communicators: MPI, threads of one process, fault-tolerant MPI; membership and byte accounting."""
