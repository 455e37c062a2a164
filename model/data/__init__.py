"""Images: what a name stands for, and every kind of file that they come in."""
