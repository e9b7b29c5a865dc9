"""Hooks of the site: pages that there may be join the navigation, links out of docs/ become names of files."""

import re
from pathlib import Path
from typing import Any

OPTIONAL = ("cli.md",)
OUTWARD = re.compile(r"\[([^\]]+)\]\((?:\.\./)+([^)#]+)(?:#[^)]*)?\)")
FOLDER = re.compile(r"\[([^\]]+)\]\(((?!https?:)[\w./-]+)\)")


def on_config(config: Any) -> Any:
    """Add those optional pages to the section Reference that lie in the folder."""
    there = [name for name in OPTIONAL if (Path(config["docs_dir"]) / name).is_file()]
    for section in config["nav"]:
        if isinstance(section, dict) and "Reference" in section:
            section["Reference"] += there
    return config


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Name files outside docs/ and folders, which the site does not hold, instead of linking to them."""
    root = Path(config["docs_dir"])
    here = (root / page.file.src_uri).parent

    def named(found: re.Match[str]) -> str:
        target = (here / found[2]).resolve()
        if target.is_relative_to(root) and not target.is_dir():
            return found[0]
        return f"{found[1]} (`{target.relative_to(root.parent)}`)" if target.exists() else found[0]

    def outward(found: re.Match[str]) -> str:
        target = (here / found[0].rpartition("](")[2].rstrip(")").partition("#")[0]).resolve()
        inside = target.is_relative_to(root) or not target.exists()
        return found[0] if inside else f"{found[1]} (`{target.relative_to(root.parent)}`)"

    return FOLDER.sub(named, OUTWARD.sub(outward, markdown))
