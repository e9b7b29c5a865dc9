"""Wire types of POST /v1/jobs/{id}/rollouts: a trainer publishes the policy of one step."""

from pydantic import Field

from rlt_core.schemas.base import RequestModel, WireModel


class RolloutPublishRequest(RequestModel):
    """A trainer says that the policy of one step lies, whole, in its attempt's folder."""

    attempt: int = Field(ge=1, le=999_999)
    step: int = Field(ge=0, le=999_999_999)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class RolloutPublished(WireModel):
    """The exact name under which that policy can be called."""

    version: str
