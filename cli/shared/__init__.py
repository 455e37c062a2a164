"""What every command shares: output, errors, progress, the choice of networks and images."""
