"""Own the order of random faults: a deck that is dealt to its end and shuffled again, so that no fault stays out."""

import random
from collections.abc import Mapping


class Deck:
    """Deals names, each as often in a round as its weight says; the seed alone decides the order."""

    def __init__(self, weights: Mapping[str, int], *, seed: int) -> None:
        """Take how often each name is in a round."""
        self._cards = [name for name, weight in weights.items() for _ in range(weight)]
        self._chance = random.Random(seed)
        self._left: list[str] = []

    def __len__(self) -> int:
        """Give the length of a round."""
        return len(self._cards)

    def deal(self) -> str:
        """Give the next name."""
        if not self._left:
            self._left = self._chance.sample(self._cards, k=len(self._cards))
        return self._left.pop()
