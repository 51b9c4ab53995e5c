"""The Grafana dashboard and the Prometheus alert rules for the metrics of gateway and webhook.

`python -m hack.monitoring` writes docs/monitoring/; a test holds the files to what this module says, and every metric in
them to what the programs really export.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "monitoring"
DASHBOARD = "grafana-dashboard.json"
RULES = "prometheus-rules.yaml"
G = "chaperone_gateway_"

PANELS: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
    (
        "Requests by verdict",
        "timeseries",
        "reqps",
        {"{{verdict}}": f"sum by (verdict) (rate({G}requests_total[$__rate_interval]))"},
    ),
    (
        "Answers that are errors",
        "timeseries",
        "reqps",
        {"{{code}}": f'sum by (code) (rate({G}requests_total{{code=~"4..|5.."}}[$__rate_interval]))'},
    ),
    (
        "Duration, 50 % and 99 %, without holds",
        "timeseries",
        "s",
        {
            f"{{{{verb}}}} {part}": f"histogram_quantile({part}, sum by (le, verb) "
            f'(rate({G}request_duration_seconds_bucket{{verb!="watch"}}[$__rate_interval])))'
            for part in ("0.5", "0.99")
        },
    ),
    ("Waiting for people", "timeseries", "short", {"held": f"sum({G}held)"}),
    (
        "Holds by outcome",
        "timeseries",
        "short",
        {"{{outcome}}": f"sum by (outcome) (increase({G}holds_total[$__rate_interval]))"},
    ),
    (
        "Values masked, by rule",
        "timeseries",
        "short",
        {"{{rule}}": f"topk(10, sum by (rule) (rate({G}masked_values_total[$__rate_interval])))"},
    ),
    ("Active runs", "stat", "short", {"runs": f"max({G}sessions_active)"}),
    (
        "Runs ended by people",
        "stat",
        "short",
        {"ended": f"sum(increase({G}runs_terminated_total[$__range]))"},
    ),
    (
        "Recordings by how they ended",
        "timeseries",
        "short",
        {"{{state}}": f"sum by (state) (increase({G}recordings_total[$__rate_interval]))"},
    ),
    (
        "Open",
        "timeseries",
        "short",
        {"connections": f"sum({G}connections)", "watches, logs and tunnels": f"sum({G}streams_open)"},
    ),
    (
        "Audit: records that wait, writes that failed",
        "timeseries",
        "short",
        {
            "waiting": f"sum({G}audit_queue)",
            "failed": f"sum(increase({G}audit_failures_total[$__rate_interval]))",
        },
    ),
    (
        "No answer from the API server",
        "timeseries",
        "short",
        {"{{reason}}": f"sum by (reason) (increase({G}upstream_errors_total[$__rate_interval]))"},
    ),
    (
        "Age of the policies",
        "timeseries",
        "s",
        {"{{instance}}": f"max by (instance) ({G}policy_age_seconds)"},
    ),
    (
        "Tokens known already",
        "timeseries",
        "percentunit",
        {
            "hits": f'sum(rate({G}token_cache_total{{result="hit"}}[$__rate_interval])) / '
            f"sum(rate({G}token_cache_total[$__rate_interval]))"
        },
    ),
    (
        "Admission reviews",
        "timeseries",
        "reqps",
        {
            "{{endpoint}} {{outcome}}": "sum by (endpoint, outcome) "
            "(rate(chaperone_webhook_reviews_total[$__rate_interval]))"
        },
    ),
)
"""Title, kind of panel, unit, and queries by their legend."""

ALERTS: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "ChaperoneAuditFails",
        f"increase({G}audit_failures_total[5m]) > 0",
        "0m",
        "critical",
        (
            "The audit store does not take records: the gateway refuses every change until it does. Is the disk full, "
            "is the database away?"
        ),
    ),
    (
        "ChaperoneAuditFallsBehind",
        f"sum by (instance) ({G}audit_queue) > 5000",
        "2m",
        "warning",
        "Records wait for the audit store; when the queue is full, reads are refused as well.",
    ),
    (
        "ChaperonePoliciesAreOld",
        f"max by (instance) ({G}policy_age_seconds) > 120",
        "1m",
        "critical",
        (
            "The gateway has not heard of its policies for two minutes; when they are too old, it refuses all agents. "
            "Does the API server answer it?"
        ),
    ),
    (
        "ChaperoneRecordingsFail",
        f'increase({G}recordings_total{{state=~"failed|refused|partial"}}[10m]) > 0',
        "0m",
        "warning",
        "Streams were not recorded, or not whole. Where policy requires recordings, they were refused or ended.",
    ),
    (
        "ChaperoneNoAnswerFromApiServer",
        f"sum by (instance) (rate({G}upstream_errors_total[5m])) > 0.5",
        "5m",
        "warning",
        "The gateway gets no answer from the API server, or its credential is not accepted; the label reason says which.",
    ),
    (
        "ChaperoneManyDenials",
        (
            f'sum(rate({G}requests_total{{verdict="Deny"}}[10m])) > 0.2 * sum(rate({G}requests_total[10m])) '
            f'and sum(increase({G}requests_total{{verdict="Deny"}}[10m])) > 50'
        ),
        "10m",
        "warning",
        (
            "More than a fifth of what agents ask for is denied: a policy that does not fit its agents, or a run that "
            "tries what it may not. `kubectl chaperone audit search --verdict Deny` tells."
        ),
    ),
    (
        "ChaperoneNobodyDecides",
        f'sum(increase({G}holds_total{{outcome="timeout"}}[1h])) > 10',
        "0m",
        "warning",
        "Requests waited for people and nobody decided in time. Are the approvers told (docs/notifications.md)?",
    ),
    (
        "ChaperoneWebhookCannotRead",
        'increase(chaperone_webhook_reviews_total{outcome="unreadable"}[10m]) > 0',
        "0m",
        "warning",
        "The webhook got reviews that it could not read; the API server was told to follow the failurePolicy.",
    ),
)
"""Name, expression, for how long, severity, and what to do."""


def dashboard() -> dict[str, Any]:
    """Importable as it is; asks for the data source at import."""
    return {
        "title": "kube-chaperone",
        "uid": "kube-chaperone",
        "tags": ["kube-chaperone"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "panels": list(_panels()),
    }


def _panels() -> Iterator[dict[str, Any]]:
    for number, (title, kind, unit, queries) in enumerate(PANELS):
        yield {
            "id": number + 1,
            "title": title,
            "type": kind,
            "datasource": {"type": "prometheus", "uid": "${source}"},
            "gridPos": {"h": 8, "w": 12, "x": number % 2 * 12, "y": number // 2 * 8},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + at), "expr": query, "legendFormat": legend}
                for at, (legend, query) in enumerate(queries.items())
            ],
        }


def rules() -> dict[str, Any]:
    """A rule file for Prometheus; `spec` of a PrometheusRule takes the same groups."""
    alerts = [
        {
            "alert": name,
            "expr": expression,
            "for": how_long,
            "labels": {"severity": severity},
            "annotations": {"summary": name.removeprefix("Chaperone"), "description": told},
        }
        for name, expression, how_long, severity, told in ALERTS
    ]
    return {"groups": [{"name": "kube-chaperone", "rules": alerts}]}


def files() -> dict[str, str]:
    """Contents by name."""
    head = "# Alert rules of kube-chaperone. Written by `python -m hack.monitoring`.\n"
    return {
        DASHBOARD: json.dumps(dashboard(), indent=2) + "\n",
        RULES: head + yaml.safe_dump(rules(), sort_keys=False, width=120),
    }


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (FOLDER / name).write_text(content)
        print(f"monitoring: wrote docs/monitoring/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
