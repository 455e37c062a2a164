"""What `bivit bench` measures and writes."""
