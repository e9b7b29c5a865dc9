"""`make bench-train`: the time of one RL step, ours against TRL's own trainer with reward functions of its own."""
