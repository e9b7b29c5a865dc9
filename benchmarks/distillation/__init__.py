"""`make experiment-distill`: what students learn from whose explanations, held-out (docs/decisions/0028)."""
