"""Training of policies: recipes, training with Stable-Baselines3, checkpoints."""
