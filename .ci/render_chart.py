"""Render docker/helm/rlt with Helm's own engine and hold each manifest against Kubernetes' schemas; JSON in, JSON out.

Run by the Python of requirements/tools.lock.txt: `render_chart.py CHART < [VALUES, …]`; gives for each VALUES what was
rendered, or why Helm refused it, and for the chart what Helm's linter says.
"""

import json
import sys
from typing import Any

import helm_python
import kubernetes_validate
import yaml

RELEASE, NAMESPACE = "prod", "rlt"
KUBERNETES = ("1.29", "1.37")
"""The oldest that Chart.yaml takes, and the newest whose schemas are here."""


def rendered(chart: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Give manifests, notes, and what breaks a schema; `refused` where Helm renders nothing."""
    try:
        files: dict[str, str] = chart.render(values, name=RELEASE, namespace=NAMESPACE)
    except helm_python.HelmError as error:
        return {"refused": str(error)}
    notes = "".join(text for path, text in files.items() if path.endswith("NOTES.txt"))
    texts = [text for path, text in sorted(files.items()) if path.endswith(".yaml")]
    manifests = [one for text in texts for one in yaml.safe_load_all(text) if one]
    return {"manifests": manifests, "notes": notes, "breaks": [line for one in manifests for line in breaks_of(one)]}


def breaks_of(manifest: dict[str, Any]) -> list[str]:
    """Say what in a manifest Kubernetes would refuse."""
    found: list[str] = []
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{manifest['kind']} {manifest['metadata']['name']} on {version}: {error}")
    return found


def main(path: str) -> None:
    """Read the values, write the answers."""
    wanted: list[dict[str, Any]] = json.load(sys.stdin)
    with helm_python.Chart.load(path) as chart:
        answers = [rendered(chart, values) for values in wanted]
    lint = helm_python.lint(path, strict=True)
    json.dump({"renders": answers, "lint": lint["errors"]}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
