"""Passes of networks with windows: groups of images go through stages and patch mergings, window by window."""
