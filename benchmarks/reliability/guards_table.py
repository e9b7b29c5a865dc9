"""Own the list of all guards."""

from benchmarks.reliability.guards_of_jobs import JOB_GUARDS
from benchmarks.reliability.guards_of_pipelines import PIPELINE_GUARDS
from benchmarks.reliability.guards_of_scoring import SCORING_GUARDS
from benchmarks.reliability.guards_of_service import SERVICE_GUARDS
from benchmarks.reliability.guards_of_upgrades import UPGRADE_GUARDS

GUARDS = (*JOB_GUARDS, *PIPELINE_GUARDS, *SERVICE_GUARDS, *UPGRADE_GUARDS, *SCORING_GUARDS)
BY_NAME = {guard.name: guard for guard in GUARDS}
