"""Own how a request's use case is made of the process's services."""

from rlt_core.errors import EngineUnavailableError
from rlt_service.chat.chat import Chatter
from rlt_service.container import Services
from rlt_service.engines import Engines
from rlt_service.served import Versions
from rlt_service.student.score import Scorer
from rlt_service.student.solve import Solver
from rlt_service.teacher.explain import Explainer


def scorer_of(services: Services) -> Scorer:
    """Make the use case of /v1/score."""
    return Scorer(
        settings=services.settings,
        versions=Versions(
            registry=services.registry, base_models=services.base_models, format=services.settings.format
        ),
        engines=_engines(services),
        in_hand=services.in_hand,
        metrics=services.metrics,
    )


def solver_of(services: Services) -> Solver:
    """Make the use case of /v1/solve."""
    scorer = scorer_of(services)
    return Solver(
        settings=services.settings,
        versions=scorer.versions,
        engines=scorer.engines,
        in_hand=services.in_hand,
        metrics=services.metrics,
    )


def chatter_of(services: Services) -> Chatter:
    """Make the use case of /v1/chat/completions."""
    scorer = scorer_of(services)
    return Chatter(
        settings=services.settings,
        versions=scorer.versions,
        engines=scorer.engines,
        in_hand=services.in_hand,
        metrics=services.metrics,
    )


def explainer_of(services: Services) -> Explainer:
    """Make the use case of /v1/explain."""
    scorer = scorer_of(services)
    return Explainer(
        settings=services.settings,
        versions=scorer.versions,
        engines=scorer.engines,
        in_hand=services.in_hand,
        scorer=scorer,
        shadow=services.shadow,
    )


def _engines(services: Services) -> Engines:
    if services.engines is None:
        raise EngineUnavailableError("this process has no engine: ask one that plays teacher or student")
    return services.engines
