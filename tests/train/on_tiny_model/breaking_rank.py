"""A trainer whose second rank runs out of memory in its third pass."""

import sys
from typing import Any

from rlt_train.__main__ import main
from rlt_train.ranks import own_rank
from rlt_train.sft import RltSftTrainer

GOOD_PASSES = 2


def break_in_the_third_pass() -> None:
    whole = RltSftTrainer.compute_loss
    passes = iter(range(GOOD_PASSES))

    def compute_loss(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        if next(passes, None) is None:
            raise MemoryError("rank 1 holds no more")
        return whole(trainer, *args, **kwargs)

    setattr(RltSftTrainer, "compute_loss", compute_loss)  # noqa: B010


if __name__ == "__main__":
    if not own_rank().is_first:
        break_in_the_third_pass()
    sys.exit(main())
