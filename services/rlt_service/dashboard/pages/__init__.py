"""The pages, each a thin view: it asks the gateway, has views written of what comes, and puts them in place."""

from rlt_service.dashboard.frame import add_page
from rlt_service.dashboard.pages import (
    access,
    comparing,
    datasets,
    evaluations,
    job,
    jobs,
    models,
    new_job,
    system,
    trying,
)


def lay_pages() -> None:
    """Serve every page; what is more exact stands before what takes any id."""
    add_page("/", title="Try", build=trying.build)
    add_page("/jobs", title="Jobs", build=jobs.build)
    add_page("/jobs/new", title="Start a job", build=new_job.build, current="/jobs")
    add_page("/jobs/compare", title="Compare jobs", build=comparing.build, current="/jobs")
    add_page("/jobs/{job_id}", title="Job", build=job.build, current="/jobs")
    add_page("/models", title="Teachers and students", build=models.build)
    add_page("/datasets", title="Datasets", build=datasets.build)
    add_page("/datasets/{dataset_id}", title="Dataset", build=datasets.build_one, current="/datasets")
    add_page("/evaluations", title="Evaluations", build=evaluations.build)
    add_page("/evaluations/compare", title="Compare evaluations", build=evaluations.build_pairs, current="/evaluations")
    add_page("/evaluations/{evaluation_id}", title="Evaluation", build=evaluations.build_one, current="/evaluations")
    add_page("/system", title="System", build=system.build)
    add_page("/access", title="Access", build=access.build)
