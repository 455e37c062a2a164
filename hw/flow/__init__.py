"""Units of the dataflow engine (`sim.flow`): sums come in tile by tile and wait in queues; credits say what is free."""
