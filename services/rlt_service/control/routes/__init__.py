from rlt_service.control.routes import (
    about,
    aliases,
    datasets,
    evaluations,
    events,
    jobs,
    models,
    projects,
    shadows,
    train,
)

ROUTERS = (
    train.router,
    events.router,
    jobs.router,
    datasets.router,
    models.models_router("teacher"),
    models.models_router("student"),
    aliases.router,
    shadows.router,
    evaluations.router,
    projects.router,
    about.router,
)
"""Every route of the control service, for create_app to include."""
