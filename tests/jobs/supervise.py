"""A process in which a supervisor runs the next job: `python -m tests.jobs.supervise SETTINGS`, in JSON."""

import json
import sys
from dataclasses import replace

from rlt_core.schemas.jobs import QUEUE
from rlt_service.jobs.supervisor import Drain
from rlt_service.jobs.trainer_process import become_subreaper
from rlt_service.jobs.worker import make_supervisor
from rlt_service.settings import Settings
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore


def main() -> None:
    become_subreaper()
    settings = Settings(**json.loads(sys.argv[1]))
    database = Database(settings.database)
    database.start()
    jobs = JobStore(database, settings.job_rules)
    claimed = jobs.claim(queue=QUEUE, worker="supervise")
    assert claimed is not None
    supervisor = make_supervisor(settings, database=database, jobs=jobs, drain=Drain())
    replace(supervisor, resolve_base=lambda _: settings.home).run(claimed)


if __name__ == "__main__":
    main()
