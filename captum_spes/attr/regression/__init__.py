"""The regression behind the Gaussian process: patches, what masks removed of them, and the fit."""
