"""The bit-accurate reference of docs/semantics.md: numba kernels over images."""
