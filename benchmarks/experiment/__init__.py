"""`make experiment-rl`: what RL does to a teacher of 135M parameters, with held-out evidence (docs/decisions/0022)."""
