"""The first source's own protocol: 16 actions, reward, environment, agent, benchmark."""
