"""What an engine is: configuration, memories, commands, timing, registers, load stream. `hw` knows little else."""
