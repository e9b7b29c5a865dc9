"""Which of your explanations helps the student most? Needs a server: `rlt up`, or RLT_BASE_URL of another one.

Run it with `python examples/score_your_own_explanations.py`.
"""

from rlt_client import Client

QUESTION = "Carla has 13 coins. Carla sells 9 coins. How many coins does Carla have now?"
SOLUTION = "The answer is 4."
EXPLANATIONS = ["13 - 9 = 4. So Carla has 4 coins now.", "Coins are round.", "Selling means taking away."]


def main() -> None:
    """Score every explanation in one call, and print the best first."""
    with Client() as client:
        answer = client.score(question=QUESTION, solution=SOLUTION, explanations=EXPLANATIONS, baseline=True)
    # Scores come in the order of the explanations. The reward compares explanations of one question with each other;
    # it is no mark that could be compared between questions.
    ranked = sorted(zip(EXPLANATIONS, answer.scores, strict=True), key=lambda pair: pair[1].reward, reverse=True)
    for text, score in ranked:
        print(f"{score.reward:+8.3f}  {text}")


if __name__ == "__main__":
    main()
