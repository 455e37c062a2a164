"""Which engine to build for some networks on an FPGA: engines sized for them, compared by bounds, then exactly."""
