"""Own the tree of versions: who was trained from whom, by which job, on what, and who serves now. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rlt_core.schemas.teachers import Alias, AliasChange, Evaluation, ModelVersion
from rlt_service.dashboard.figures import interval, moment
from rlt_service.dashboard.markup import Markup, joined, tag
from rlt_service.dashboard.tables import table


@dataclass(slots=True, kw_only=True)
class Node:
    """A version and those that were trained from it."""

    version: ModelVersion
    children: list["Node"] = field(default_factory=list["Node"])


def forest(versions: Sequence[ModelVersion]) -> list[Node]:
    """Arrange versions under their parents; whose parent is not among them stands at the root. The oldest first."""
    nodes = {version.version: Node(version=version) for version in versions}
    roots: list[Node] = []
    for node in sorted(nodes.values(), key=lambda node: node.version.created_at):
        parent = nodes.get(node.version.parent or "")
        (roots if parent is None or parent is node else parent.children).append(node)
    return roots


def tree(versions: Sequence[ModelVersion], *, chosen: str | None) -> Markup:
    """Write the tree, each version a link to its own part of the page."""
    if not versions:
        start = tag("a", "Start a job", href="/jobs/new")
        return tag("p", "No versions yet: a job that trains makes one. ", start, class_="muted")
    return _level(forest(versions), chosen=chosen, root=True)


def aliases(found: Sequence[Alias]) -> Markup:
    """Write who serves now."""
    rows = [
        [f"{alias.role} · {alias.alias}", tag("a", alias.version, href=f"/models?version={alias.version}"),
         f"{moment(alias.updated_at)} UTC"]
        for alias in found
    ]  # fmt: skip
    return table(["Alias", "Serves", "Since"], rows, classes=["", "", "optional"], label="Aliases")


def history(moves: Sequence[AliasChange]) -> Markup:
    """Write an alias's moves, the newest first."""
    rows = [
        [moment(move.created_at), f"{move.previous or 'new'} → {move.version}", move.by, move.reason or ""]
        for move in moves
    ]
    return table(["UTC", "Move", "By", "Why"], rows, classes=["", "", "optional", ""], label="History of the alias")


def judged(evaluation: Evaluation) -> Markup:
    """Write what an evaluation of two versions found, with its interval."""
    found = evaluation.difference
    text = f"{evaluation.after} against {evaluation.before}: reward {interval(found.mean, found.ci_low, found.ci_high)}"
    return tag("p", tag("a", evaluation.id, href=f"/evaluations/{evaluation.id}"), f" {text}, n = {found.n}")


def _level(nodes: Sequence[Node], *, chosen: str | None, root: bool = False) -> Markup:
    items = [tag("li", _line(node.version, chosen=chosen), _below(node, chosen=chosen)) for node in nodes]
    return tag("ul", items, class_="tree root" if root else "tree")


def _below(node: Node, *, chosen: str | None) -> Markup | None:
    return _level(node.children, chosen=chosen) if node.children else None


def _line(version: ModelVersion, *, chosen: str | None) -> Markup:
    name = version.version
    current = "true" if name == chosen else None
    badges = [tag("span", f"serves as {alias}", class_="badge serves") for alias in version.aliases]
    kind = version.weights if version.lora_rank is None else f"adapter, rank {version.lora_rank}"
    return joined(
        tag("a", name, href=f"/models?version={name}", aria_current=current),
        " ",
        tag("span", kind, class_="badge"),
        " ",
        badges,
    )
