"""The units of the datapath, a file each."""
