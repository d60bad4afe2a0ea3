"""Training runs under mpirun that are killed with SIGKILL at random instants and resumed until they are certified."""
