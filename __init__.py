"""bivit: from a binarized vision transformer to a verified FPGA accelerator."""

__version__ = "0.1.0"
