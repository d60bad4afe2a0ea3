"""The study `compression`: averaged compressed SGD for least squares, beside the authors' figures and predictions.

C. Philippenko, A. Dieuleveut, "Compressed and distributed least-squares regression: convergence rates with
applications to federated learning", JMLR 2024. The predictions are our own derivation (prediction.py).
"""
