"""The protocol of the published study: reward, environment, agent, and evaluation of its 16 actions."""
