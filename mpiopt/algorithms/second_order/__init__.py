"""L-BFGS and Newton."""
