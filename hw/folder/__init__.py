"""What is written beside the Verilog for whoever has the folder and nothing else."""
