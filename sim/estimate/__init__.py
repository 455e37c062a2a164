"""Resources and devices: what an engine takes of an FPGA, and which one to choose."""
