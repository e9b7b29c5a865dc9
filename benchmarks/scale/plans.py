"""Own the runs that are planned, not measured: the paper's 7B run on one node, and one on 100 nodes; inputs and steps.

No GPU has run here. An engine's times follow from a card's data sheet and a model's shape: a step of generation reads
the weights and the keys and values of what is at work, a score computes two operations a weight and token, a training
ten; the share of the data sheet's figures that is reached is assumed, and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmarks.scale.model import Engine, Plan, Step, drawn, simulate


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A GPU, by its data sheet."""

    name: str
    memory_bytes: float
    bytes_per_s: float
    flops: float
    """Of bfloat16, dense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model, by its configuration."""

    name: str
    parameters: float
    layers: int
    kv_heads: int
    head_size: int

    @property
    def weight_bytes(self) -> float:
        """Of bfloat16."""
        return 2.0 * self.parameters

    @property
    def kv_bytes(self) -> float:
        """Keys and values of a token."""
        return 2.0 * 2.0 * self.layers * self.kv_heads * self.head_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The shares of a data sheet that are assumed to be reached; none was measured here."""

    memory: float = 0.9
    """Of a card's memory, for weights, keys and values of an engine."""
    bandwidth: float = 0.6
    """In generation."""
    scoring: float = 0.5
    """Of the operations, in a score."""
    training: float = 0.35
    """Of the operations, in training, recomputed activations counted as work."""


H100 = Card(name="H100 SXM, 80 GB", memory_bytes=80e9, bytes_per_s=3.35e12, flops=989e12)
QWEN_7B = Shape(name="Qwen2.5-7B", parameters=7.6e9, layers=28, kv_heads=4, head_size=128)
PROMPT_TOKENS, AROUND_TOKENS = 1_000, 1_000
"""Assumed: of a question with its solution, before the explanation and around it."""
MOST_TOKENS = 16_384
SPREAD = 0.6
"""Sigma of the lengths' logarithm, assumed."""
FIRST_S = 0.2
TRAIN_OPERATIONS = 10.0
"""A weight and token: forward 2, backward 4, activations again 2, the reference's log-probs 2."""
CALL_S = 0.02
"""Assumed for what a call takes beside its engine, until `make bench-scale` has measured it."""
READ_TOKEN_S = 1.0e-6
"""Likewise for the reading of an answer."""
FULL_WEIGHTS, ADAPTER = "all weights", "LoRA of rank 16"
ADAPTER_BYTES = 80e6
LOAD_S = 5.0
"""To take up a policy, beside its copy, assumed."""
LENGTHS = (2_000.0, 6_000.0, 12_000.0)
"""Mean tokens of a completion; the paper does not give its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One set-up, as it is asked about."""

    teachers: int
    """Cards, one an engine; so of students and trainers."""
    students: int
    trainers: int
    questions: int
    samples: int
    mean_tokens: float
    weights: str = FULL_WEIGHTS
    store_bytes_per_s: float = 10e9
    """Of the shared disk, for all teachers together."""
    ahead: int = 0
    call_s: float = CALL_S
    read_token_s: float = READ_TOKEN_S


def engine_of(card: Card, shape: Shape, *, context_tokens: float, reached: Reached) -> Engine:
    """Say how fast one card generates with that many tokens of context, in the mean, for each sequence."""
    room = reached.memory * card.memory_bytes - shape.weight_bytes
    bandwidth = reached.bandwidth * card.bytes_per_s
    return Engine(
        slots=max(1, min(256, int(room / (shape.kv_bytes * context_tokens)))),
        first_s=FIRST_S,
        fixed_s=shape.weight_bytes / bandwidth,
        each_s=shape.kv_bytes * context_tokens / bandwidth,
    )


def plan_of(run: Run, *, card: Card = H100, shape: Shape = QWEN_7B, reached: Reached | None = None) -> Plan:
    """Make the model's plan of a run."""
    reached = reached or Reached()
    context = PROMPT_TOKENS + run.mean_tokens / 2
    copied = shape.weight_bytes if run.weights == FULL_WEIGHTS else ADAPTER_BYTES
    return Plan(
        teacher=engine_of(card, shape, context_tokens=context, reached=reached),
        teachers=run.teachers,
        students=run.students,
        score_token_s=2.0 * shape.parameters / (reached.scoring * card.flops),
        around_tokens=AROUND_TOKENS,
        call_s=run.call_s,
        read_token_s=run.read_token_s,
        train_token_s=TRAIN_OPERATIONS * shape.parameters / (reached.training * card.flops * run.trainers),
        publish_s=LOAD_S + run.teachers * copied / run.store_bytes_per_s,
        ahead=run.ahead,
    )


def simulated(run: Run, *, seed: int = 1) -> Step:
    """Carry out one step of a run."""
    lengths = drawn(
        questions=run.questions,
        samples=run.samples,
        mean=run.mean_tokens,
        spread=SPREAD,
        most=MOST_TOKENS,
        seed=seed,
    )
    return simulate(plan_of(run), lengths)


def with_inputs(run: Run, *, call_s: float, read_token_s: float) -> Run:
    """Give the run with what calls were found to cost."""
    return replace(run, call_s=call_s, read_token_s=read_token_s)


def _paper(
    teachers: int,
    students: int,
    trainers: int,
    *,
    mean_tokens: float = 6_000.0,
    weights: str = FULL_WEIGHTS,
    ahead: int = 0,
) -> Run:
    """Name the paper's run on one node of eight cards: 16 questions of 64 samples."""
    return Run(
        teachers=teachers,
        students=students,
        trainers=trainers,
        questions=16,
        samples=64,
        mean_tokens=mean_tokens,
        weights=weights,
        ahead=ahead,
    )


def _hundred(teachers: int, students: int, trainers: int, *, weights: str = ADAPTER, ahead: int = 1) -> Run:
    """Name a run on 100 nodes of eight cards: 512 questions of 64 samples."""
    return Run(
        teachers=teachers,
        students=students,
        trainers=trainers,
        questions=512,
        samples=64,
        mean_tokens=6_000.0,
        weights=weights,
        ahead=ahead,
    )


PAPER: tuple[Run, ...] = (
    *(_paper(3, 1, 4, mean_tokens=mean) for mean in LENGTHS),
    _paper(2, 2, 4),
    _paper(5, 1, 2),
    _paper(3, 1, 4, weights=ADAPTER, ahead=1),
)
HUNDRED: tuple[Run, ...] = (
    _hundred(728, 64, 8),
    _hundred(480, 64, 256, weights=FULL_WEIGHTS, ahead=0),
    _hundred(480, 64, 256, ahead=0),
    _hundred(480, 64, 256),
    _hundred(256, 32, 512),
)
"""The first is what can be set today: a training has the processes of one machine (docs/decisions/0021)."""
RUNS: Mapping[str, tuple[Run, ...]] = {"paper": PAPER, "hundred": HUNDRED}
