"""The fields of the specs that train a model: what all of them share, and what reinforcement by GRPO is made of."""

from typing import Literal

from pydantic import Field

from rlt_core.schemas.base import MIN_TEMPERATURE, Name, RequestModel
from rlt_core.schemas.spec_base import SharedSpec

LossType = Literal["grpo", "dr_grpo", "dapo", "bnpo"]
"""How token losses become one number; names and formulas are TRL's.

`grpo`: mean of the completions' means; `dr_grpo`: sum over a constant, `max_tokens` times completions; `dapo`: mean
over all tokens of the step; `bnpo`: mean over the tokens of a micro-batch.
"""
RewardScale = Literal["group", "batch", "none"]
"""What advantages are divided by: the spread within a question, that of the whole step, or nothing (Dr. GRPO)."""
ImportanceCorrection = Literal["ratio", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]
"""How the difference between the engine that sampled and the trainer is made up for; the last four are TRL's modes."""
Schedule = Literal["constant", "cosine", "linear"]
ParallelStrategy = Literal["ddp", "fsdp", "deepspeed_zero3"]
"""How processes share a training: each holds all and gradients are averaged, or weights lie in parts too."""
MetricsWriter = Literal["tensorboard", "wandb", "trackio"]
"""Where a worker writes metrics too; each must be installed there (`pip install 'rlt[wandb]'`)."""

LINEAR_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LoraSpec(RequestModel):
    """A low-rank adapter; targets name linear layers (never `lm_head`: vLLM ignores it when scoring, #51594)."""

    rank: int = Field(default=16, ge=1, le=512)
    """Of the two factors; it must fit `RLT_MAX_LORA_RANK` to be served."""
    alpha: float = Field(default=32.0, gt=0.0, le=4096.0)
    """The adapter's product is scaled by alpha / rank."""
    targets: list[str] = Field(default_factory=lambda: list(LINEAR_TARGETS), min_length=1, max_length=32)
    """Layers that get an adapter, by the ends of their names."""


class Splits(RequestModel):
    """Held-out parts of the dataset, as fractions of its rows or ids of other datasets; they share no question."""

    select: float | str = 0.0
    """Chooses a checkpoint."""
    gate: float | str = 0.0
    """Compares the result with the version that serves."""
    report: float | str = 0.0
    """For figures only."""


class DivergenceLimits(RequestModel):
    """When training stops as diverged, before the step is taken; what is not finite always stops it."""

    grad_norm: float | None = Field(default=1000.0, gt=0.0)
    """Of the step's whole gradient, before clipping; null is no limit."""
    kl: float | None = Field(default=100.0, gt=0.0)
    """Mean divergence of the policy from its reference, in nats a token (`rl`); null is no limit."""


class Parallel(RequestModel):
    """Processes that train one policy together, on one machine; accelerate starts them where there are several."""

    processes: int = Field(default=1, ge=1, le=64)
    """Each on a GPU of its own; `ddp` runs on CPUs too."""
    strategy: ParallelStrategy = "ddp"
    """`ddp`: each holds all weights; `fsdp`, `deepspeed_zero3`: they lie in parts."""


class TrainingBase(SharedSpec):
    """What every kind of training has."""

    target_name: Name
    """The name under which the result becomes a version."""
    resume_from: str | None = Field(default=None, max_length=200)
    """A checkpoint's id, of any job of the same kind, data and adapter: training goes on after its step."""
    splits: Splits = Field(default_factory=Splits)
    divergence: DivergenceLimits = Field(default_factory=DivergenceLimits)
    lora: LoraSpec | None = Field(default_factory=LoraSpec)
    """Null trains all weights; a policy of them (`rl`, `rlvr`) takes one of the server's `RLT_MAX_FULL_ENGINES`."""
    report_to: list[MetricsWriter] = Field(default_factory=list[MetricsWriter], max_length=3)
    """Writers of metrics beside the job's own."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time for training."""
    parallel: Parallel = Field(default_factory=Parallel)


class GrpoSpec(TrainingBase):
    """GRPO of a policy on rollouts from the services; one step = questions x samples completions."""

    steps: int = Field(default=10, ge=1, le=1_000_000)
    """Optimizer steps."""
    questions_per_step: int = Field(default=4, ge=1, le=4096)
    """Questions of a step."""
    samples_per_question: int = Field(default=8, ge=2, le=64)
    """Completions of each, whose rewards are compared with each other."""
    learning_rate: float = Field(default=2e-4, gt=0.0, le=1.0)
    """Highest one of the schedule."""
    schedule: Schedule = "constant"
    """How the learning rate goes after its rise."""
    warmup_ratio: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the steps in which the learning rate rises from 0; fewer than two such steps are none."""
    weight_decay: float = Field(default=0.0, ge=0.0, le=1.0)
    """AdamW's; it pulls weights towards 0."""
    adam_beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    """AdamW's mean of gradients: how much of the former stays."""
    adam_beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    """AdamW's mean of their squares: how much of the former stays."""
    max_grad_norm: float = Field(default=1.0, gt=0.0, le=1e6)
    """A longer gradient is scaled down to it."""
    beta: float = Field(default=0.04, ge=0.0, le=100.0)
    """Weight of the KL penalty to the reference."""
    unbiased_kl: bool = True
    """Weigh the penalty by the ratio of new and old probability, so that its gradient is that of the divergence
    (DeepSeek-V3.2, 2512.02556; TRL's default). False is the paper's run: the estimator's own gradient."""
    reference_every: int = Field(default=0, ge=0, le=1_000_000)
    """Steps after which the reference moves towards the policy; 0 keeps it where training began."""
    reference_mix: float = Field(default=0.9, gt=0.0, le=1.0)
    """How far it moves: mix * policy + (1 - mix) * reference."""
    loss_type: LossType = "grpo"
    """How token losses become one number, by TRL's names and formulas."""
    scale_rewards: RewardScale = "group"
    """What advantages are divided by: the spread within a question, that of the step, or nothing."""
    epsilon: float = Field(default=0.2, gt=0.0, lt=1.0)
    """The ratio of new and old probability is clipped to 1 - epsilon and 1 + epsilon_high."""
    epsilon_high: float | None = Field(default=None, gt=0.0, le=10.0)
    """Null is epsilon; above it, unlikely tokens may rise further (DAPO's clip-higher)."""
    importance_correction: ImportanceCorrection = "ratio"
    """`ratio`: the engine's log-probs are the old policy. Else the trainer's are, and a token's (sequence's) loss is
    weighted by trainer over engine, cut off at `importance_cap` (truncate) or left out beyond it (mask)."""
    importance_cap: float = Field(default=3.0, ge=1.0, le=1e6)
    """Highest weight of a token or sequence."""
    dynamic_sampling: int = Field(default=0, ge=0, le=16)
    """Rounds in which questions whose samples all got the same reward give way to others (DAPO); 0 keeps them."""
    max_dropped: float = Field(default=0.25, ge=0.0, le=0.9)
    """Share of a step's rollouts that may be left out because they failed for good; beyond it the job fails."""
    temperature: float = Field(default=0.7, ge=MIN_TEMPERATURE, le=2.0)
    """Of sampling; log-probs are taken at it too."""
    top_p: float = Field(default=1.0, ge=1.0, le=1.0)
    """Only 1: a truncated distribution renormalises the sampled log-probs."""
    top_k: int = Field(default=0, ge=0, le=0)
    """Only 0, for the same reason."""
    max_tokens: int = Field(default=128, ge=1, le=1_000_000)
    """Longest completion."""
    max_staleness: int = Field(default=0, ge=0, le=16)
    """Steps that the policy which samples may be behind the one that learns; 0 is strictly on-policy. From 1 on, a
    step's rollouts are collected while the step before trains: they are one step old, not more."""
    save_every: int = Field(default=5, ge=0, le=1_000_000)
    """Steps between checkpoints; 0 saves at the end, and when it is stopped."""
    eval_every: int = Field(default=0, ge=0, le=1_000_000)
    """Steps between measurements on the `select` questions, by which the result is chosen; 0 takes the last step."""
    patience: int = Field(default=0, ge=0, le=1000)
    """Measurements in a row without a new best that end training early; 0 trains all steps."""
