"""The communicator over MPI."""
