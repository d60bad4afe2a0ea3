"""Methods with curvature: Newton and L-BFGS."""
