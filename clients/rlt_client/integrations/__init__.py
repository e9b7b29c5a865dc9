"""Adapters that make RLT the reward of others' trainers; none of them imports its trainer."""
