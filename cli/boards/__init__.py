"""Commands for boards: their bitstreams, and the host of one."""
