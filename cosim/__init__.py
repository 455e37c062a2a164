"""bivit.cosim."""
