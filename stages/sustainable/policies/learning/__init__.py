"""Training of policies: recipes, Stable-Baselines3, checkpoints."""
