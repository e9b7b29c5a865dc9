"""Who calls, and what they may: keys, scopes, limits."""
