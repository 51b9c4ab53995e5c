"""The web console: for people who approve, watch and stop agents. It holds no agent's credential."""
