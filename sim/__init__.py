"""Integer side of bivit: formats, numba reference, program compiler, cycle and resource models."""
