"""The hardware units of an engine, a description each: what RTL, timing, estimates and probes are views of."""
