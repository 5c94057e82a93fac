"""The search for a compression: environment, reward, agent. Costs reach it as values."""
