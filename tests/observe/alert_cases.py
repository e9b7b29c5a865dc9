"""Series by which each alert of docker/observe/alerts.yml fires, and those of an installation that is well, by minute."""

from collections.abc import Mapping

SERVERS = 'instance="a:8400"'
WELL: Mapping[str, str] = {
    'up{job="rlt-control",instance="a:8400"}': "1x500",
    'up{job="rlt-teacher",instance="a:8400"}': "1x500",
    'up{job="rlt-student",instance="a:8400"}': "1x500",
    'rlt_http_requests_total{job="rlt-control",route="/v1/jobs",status="200"}': "0+600x500",
    'rlt_http_requests_total{job="rlt-control",route="/v1/jobs",status="500"}': "0x500",
    'rlt_http_requests_total{job="rlt-teacher",route="/readyz",status="503"}': "0+600x500",
    'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs",le="0.5"}': "0+600x500",
    'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs",le="+Inf"}': "0+600x500",
    'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs/{job_id}/events",le="0.5"}': "0x500",
    'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs/{job_id}/events",le="300"}': "0+9x500",
    'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs/{job_id}/events",le="+Inf"}': "0+9x500",
    f'rlt_disk_free_bytes{{folder="home",{SERVERS}}}': "5e11x500",
    f'rlt_disk_size_bytes{{folder="home",{SERVERS}}}': "1e12x500",
    f'rlt_engine_up{{base="m",{SERVERS}}}': "1x500",
    f'rlt_engine_restarts_total{{base="m",{SERVERS}}}': "0x100 1x400",
    f'rlt_scoring_worker_ok{{base="m",engine="vllm",{SERVERS}}}': "1x500",
    f'rlt_engine_wait_seconds_bucket{{base="m",queue="score",le="2.0",{SERVERS}}}': "0+60x500",
    f'rlt_engine_wait_seconds_bucket{{base="m",queue="score",le="+Inf",{SERVERS}}}': "0+60x500",
    f'rlt_engine_cache_use_ratio{{base="m",{SERVERS}}}': "0.7x500",
    'rlt_promotion_lag_seconds_bucket{role="teacher",le="2.0"}': "0x100 1x400",
    'rlt_promotion_lag_seconds_bucket{role="teacher",le="+Inf"}': "0x100 1x400",
    'rlt_queue_oldest_seconds{queue="train"}': "1000x500",
    'rlt_job_claim_seconds_count{queue="train"}': "0+1x500",
    "rlt_workers_busy": "2x500",
    "rlt_job_heartbeat_age_seconds": "9x500",
    'rlt_jobs_ended_total{kind="rl",state="failed"}': "0x100 1x400",
    'rlt_jobs_ended_total{kind="rl",state="succeeded"}': "0+1x500",
    'rlt_job_retries_total{kind="rl"}': "0x100 2x400",
    f"rlt_database_up{{{SERVERS}}}": "1x500",
    f"rlt_broker_up{{{SERVERS}}}": "1x500",
    "rlt_outbox_bells": "0x500",
    f"rlt_reconciler_last_success_timestamp_seconds{{{SERVERS}}}": "0+60x500",
}

FIRING: Mapping[str, Mapping[str, str]] = {
    "RltServerDown": {'up{job="rlt-teacher",instance="a:8400"}': "0x500"},
    "RltServersGone": {'up{job="rlt-control",instance="a:8400"}': "_x500"},
    "RltErrorBudgetFast": {
        'rlt_http_requests_total{job="rlt-control",route="/v1/jobs",status="500"}': "0+60x500",
    },
    "RltErrorBudgetSlow": {
        'rlt_http_requests_total{job="rlt-control",route="/v1/jobs",status="500"}': "0+6x500",
    },
    "RltControlSlow": {
        'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs",le="0.5"}': "0+500x500",
        'rlt_http_request_seconds_bucket{job="rlt-control",route="/v1/jobs",le="5.0"}': "0+600x500",
    },
    "RltCallsRefused": {
        'rlt_http_requests_total{job="rlt-control",route="/v1/explain",status="429"}': "0+60x500",
    },
    "RltDiskFilling": {f'rlt_disk_free_bytes{{folder="home",{SERVERS}}}': "5e10x500"},
    "RltDiskFull": {f'rlt_disk_free_bytes{{folder="home",{SERVERS}}}': "1e9x500"},
    "RltEngineDown": {f'rlt_engine_up{{base="m",{SERVERS}}}': "0x500"},
    "RltEngineRestarts": {f'rlt_engine_restarts_total{{base="m",{SERVERS}}}': "0+1x500"},
    "RltScoringPlain": {f'rlt_scoring_worker_ok{{base="m",engine="vllm",{SERVERS}}}': "0x500"},
    "RltEngineQueueSlow": {
        f'rlt_engine_wait_seconds_bucket{{base="m",queue="score",le="2.0",{SERVERS}}}': "0+6x500",
        f'rlt_engine_wait_seconds_bucket{{base="m",queue="score",le="60.0",{SERVERS}}}': "0+60x500",
    },
    "RltCacheFull": {f'rlt_engine_cache_use_ratio{{base="m",{SERVERS}}}': "0.99x500"},
    "RltPromotionSlow": {
        'rlt_promotion_lag_seconds_bucket{role="teacher",le="2.0"}': "0x500",
        'rlt_promotion_lag_seconds_bucket{role="teacher",le="300.0"}': "0x350 1x150",
        'rlt_promotion_lag_seconds_bucket{role="teacher",le="+Inf"}': "0x350 1x150",
    },
    "RltQueueStuck": {'rlt_job_claim_seconds_count{queue="train"}': "5x500", "rlt_workers_busy": "0x500"},
    "RltJobsWaitLong": {'rlt_queue_oldest_seconds{queue="train"}': "20000x500"},
    "RltHeartbeatOld": {"rlt_job_heartbeat_age_seconds": "90x500"},
    "RltJobsFailing": {'rlt_jobs_ended_total{kind="rl",state="failed"}': "0x350 9x150"},
    "RltJobsRetrying": {'rlt_job_retries_total{kind="rl"}': "0+1x500"},
    "RltDatabaseSlow": {f"rlt_database_up{{{SERVERS}}}": "0x500"},
    "RltBrokerDown": {f"rlt_broker_up{{{SERVERS}}}": "0x500"},
    "RltOutboxBacklog": {"rlt_outbox_bells": "3x500"},
    "RltReconcilerStuck": {f"rlt_reconciler_last_success_timestamp_seconds{{{SERVERS}}}": "0+60x300 18000x200"},
}
"""What is otherwise than well when an alert fires at minute 380."""
BESIDE: Mapping[str, frozenset[str]] = {
    "RltErrorBudgetFast": frozenset({"RltErrorBudgetSlow"}),
    "RltDiskFull": frozenset({"RltDiskFilling"}),
}
"""Alerts that fire with another one."""
