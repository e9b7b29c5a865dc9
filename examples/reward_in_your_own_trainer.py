"""RLT's reward in a trainer of your own, or TRL's. Needs a server: `rlt up`, or RLT_BASE_URL of another one.

Run it with `python examples/reward_in_your_own_trainer.py`. With TRL the same object goes into
`GRPOTrainer(reward_funcs=[reward], ...)`, and the dataset's columns `question` and `solution` come by themselves.
"""

from rlt_client import Client
from rlt_client.integrations.trl import StudentReward

QUESTION = "Carla has 13 coins. Carla sells 9 coins. How many coins does Carla have now?"
SOLUTION = "The answer is 4."
COMPLETIONS = ["13 - 9 = 4. So Carla has 4 coins now.", "Coins are round."]


def main() -> None:
    """Score two completions of one prompt as TRL would ask for it; `uplift` says what each adds to no explanation."""
    with Client() as client:
        reward = StudentReward(client, measure="uplift")
        count = len(COMPLETIONS)
        figures = reward(completions=COMPLETIONS, question=[QUESTION] * count, solution=[SOLUTION] * count)
    for figure, text in zip(figures, COMPLETIONS, strict=True):
        print("not scored" if figure is None else f"{figure:+8.3f}", text)


if __name__ == "__main__":
    main()
