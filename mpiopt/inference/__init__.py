"""Inference: standard errors, tests and measures of fit of a trained model, from sums over the rows of all ranks.

The statistics follow P. McCullagh and J. Nelder, Generalized Linear Models, 2nd edition, 1989; the robust covariances
H. White 1980, J. MacKinnon and H. White 1985, and K.-Y. Liang and S. Zeger 1986.
"""
