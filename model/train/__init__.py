"""Training: recipes, objectives, loops, run folders."""
