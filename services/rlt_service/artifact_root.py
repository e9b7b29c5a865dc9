"""Own where the artifacts of a process lie: under its state folder, and in what machines share."""

from rlt_service.settings import Settings
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.objects import ObjectStore


def artifacts_of(settings: Settings) -> ArtifactStore:
    """Open the artifacts that settings name; raises ConfigurationError for a store that cannot be opened here."""
    return ArtifactStore(settings.artifacts, objects=ObjectStore.at(settings.artifact_store))
