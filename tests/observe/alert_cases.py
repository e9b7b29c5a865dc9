"""Series by which each alert of docker/observe fires, and those of an installation that is well; a value a minute."""

from collections.abc import Mapping

SERVERS = 'instance="a:8400"'
WELL: Mapping[str, str] = {
    'up{job="rlt-control",instance="a:8400"}': "1x100",
    'up{job="rlt-teacher",instance="a:8400"}': "1x100",
    'up{job="rlt-student",instance="a:8400"}': "1x100",
    'rlt_http_requests_total{job="rlt-control",route="/v1/jobs",status="200"}': "0+600x100",
    'rlt_http_requests_total{job="rlt-control",route="/v1/jobs",status="500"}': "0x100",
    'rlt_http_requests_total{job="rlt-teacher",route="/readyz",status="503"}': "0+600x100",
    'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs",le="0.5"}': "0+600x100",
    'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs",le="+Inf"}': "0+600x100",
    'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs/{job_id}/events",le="0.5"}': "0x100",
    'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs/{job_id}/events",le="300"}': "0+9x100",
    'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs/{job_id}/events",le="+Inf"}': "0+9x100",
    f'rlt_disk_free_bytes{{folder="home",{SERVERS}}}': "5e11x100",
    f'rlt_disk_size_bytes{{folder="home",{SERVERS}}}': "1e12x100",
    f'rlt_engine_up{{base="m",{SERVERS}}}': "1x100",
    f'rlt_engine_restarts_total{{base="m",{SERVERS}}}': "0x4 1x100",
    f'rlt_scoring_worker_ok{{base="m",engine="vllm",{SERVERS}}}': "1x100",
    f'rlt_engine_wait_seconds_bucket{{base="m",queue="score",le="2.0",{SERVERS}}}': "0+60x100",
    f'rlt_engine_wait_seconds_bucket{{base="m",queue="score",le="+Inf",{SERVERS}}}': "0+60x100",
    f'rlt_engine_cache_use_ratio{{base="m",{SERVERS}}}': "0.7x100",
    'rlt_promotion_lag_seconds_bucket{role="teacher",le="2.0"}': "0x4 1x100",
    'rlt_promotion_lag_seconds_bucket{role="teacher",le="+Inf"}': "0x4 1x100",
    'rlt_queue_oldest_seconds{queue="train"}': "1000x100",
    'rlt_job_claim_seconds_count{queue="train"}': "0+1x100",
    "rlt_workers_busy": "2x100",
    "rlt_job_heartbeat_age_seconds": "9x100",
    'rlt_jobs_ended_total{kind="rl",state="failed"}': "0x4 1x100",
    'rlt_jobs_ended_total{kind="rl",state="succeeded"}': "0+1x100",
    'rlt_job_retries_total{kind="rl"}': "0x4 2x100",
    f"rlt_database_up{{{SERVERS}}}": "1x100",
    f"rlt_broker_up{{{SERVERS}}}": "1x100",
    "rlt_outbox_bells": "0x100",
    f"rlt_reconciler_last_success_timestamp_seconds{{{SERVERS}}}": "0+60x100",
}

FIRING: Mapping[str, Mapping[str, str]] = {
    "RltServerDown": {'up{job="rlt-teacher",instance="a:8400"}': "0x100"},
    "RltServersGone": {'up{job="rlt-control",instance="a:8400"}': "_x100"},
    "RltErrorBudgetFast": {
        'rlt_http_requests_total{job="rlt-control",route="/v1/jobs",status="500"}': "0+60x100",
    },
    "RltErrorBudgetSlow": {
        'rlt_http_requests_total{job="rlt-control",route="/v1/jobs",status="500"}': "0+6x100",
    },
    "RltControlSlow": {
        'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs",le="0.5"}': "0+500x100",
        'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs",le="5.0"}': "0+600x100",
    },
    "RltCallsRefused": {
        'rlt_http_requests_total{job="rlt-control",route="/v1/explain",status="429"}': "0+60x100",
    },
    "RltDiskFilling": {f'rlt_disk_free_bytes{{folder="home",{SERVERS}}}': "5e10x100"},
    "RltDiskFull": {f'rlt_disk_free_bytes{{folder="home",{SERVERS}}}': "1e9x100"},
    "RltEngineDown": {f'rlt_engine_up{{base="m",{SERVERS}}}': "0x100"},
    "RltEngineRestarts": {f'rlt_engine_restarts_total{{base="m",{SERVERS}}}': "0+1x100"},
    "RltScoringPlain": {f'rlt_scoring_worker_ok{{base="m",engine="vllm",{SERVERS}}}': "0x100"},
    "RltEngineQueueSlow": {
        f'rlt_engine_wait_seconds_bucket{{base="m",queue="score",le="2.0",{SERVERS}}}': "0+6x100",
        f'rlt_engine_wait_seconds_bucket{{base="m",queue="score",le="60.0",{SERVERS}}}': "0+60x100",
    },
    "RltCacheFull": {f'rlt_engine_cache_use_ratio{{base="m",{SERVERS}}}': "0.99x100"},
    "RltPromotionSlow": {
        'rlt_promotion_lag_seconds_bucket{role="teacher",le="2.0"}': "0x100",
        'rlt_promotion_lag_seconds_bucket{role="teacher",le="300.0"}': "0x44 1x100",
        'rlt_promotion_lag_seconds_bucket{role="teacher",le="+Inf"}': "0x44 1x100",
    },
    "RltQueueStuck": {'rlt_job_claim_seconds_count{queue="train"}': "5x100", "rlt_workers_busy": "0x100"},
    "RltJobsWaitLong": {'rlt_queue_oldest_seconds{queue="train"}': "20000x100"},
    "RltHeartbeatOld": {"rlt_job_heartbeat_age_seconds": "90x100"},
    "RltJobsFailing": {'rlt_jobs_ended_total{kind="rl",state="failed"}': "0x44 9x100"},
    "RltJobsRetrying": {'rlt_job_retries_total{kind="rl"}': "0+1x100"},
    "RltDatabaseSlow": {f"rlt_database_up{{{SERVERS}}}": "0x100"},
    "RltBrokerDown": {f"rlt_broker_up{{{SERVERS}}}": "0x100"},
    "RltOutboxBacklog": {"rlt_outbox_bells": "3x100"},
    "RltReconcilerStuck": {f"rlt_reconciler_last_success_timestamp_seconds{{{SERVERS}}}": "0+60x60 3600x100"},
}
"""What is otherwise than well when an alert fires at minute 75."""
BESIDE: Mapping[str, frozenset[str]] = {
    "RltErrorBudgetFast": frozenset({"RltErrorBudgetSlow"}),
    "RltDiskFull": frozenset({"RltDiskFilling"}),
}
"""Alerts that fire with another one."""
