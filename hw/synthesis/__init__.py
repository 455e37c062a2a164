"""Synthesis of units and engines, and the fit of the estimates to it."""
