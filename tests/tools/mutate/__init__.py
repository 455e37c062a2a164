"""Plants faults in the Verilog of small engines and tells which of them no check sees."""
