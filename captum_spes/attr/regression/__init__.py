"""What the Gaussian process computes: patches, what masks removed of them, and the fit."""
