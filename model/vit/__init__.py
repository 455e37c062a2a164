"""The Bi-ViT and its real-valued twin as torch modules, and how their parameters become integers."""
