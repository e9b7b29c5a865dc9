"""Own the process inside the guard: settings from options and environment, then the tree; errors as one sentence."""

from pydantic import ValidationError

from rlt_core.errors import RltError
from rlt_service.launch.screen import Screen
from rlt_service.launch.tree import Tree
from rlt_service.settings import Settings, setting_of


def run(**options: object) -> int:
    """Run the tree to its end; an option that is None leaves the setting to RLT_*. Gives the exit code."""
    screen = Screen()
    try:
        return Tree(_settings(options), screen=screen).run()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, *inside = (str(part) for part in first["loc"])
        option = "" if inside else f" (or --{name.replace('_', '-')})"
        screen.error(f"{setting_of(first['loc'])}{option} is {first['input']!r}: {first['msg']}")
    except RltError as error:
        screen.error(error.detail)
    return 1


def _settings(options: dict[str, object]) -> Settings:
    settings = Settings.model_validate({name: value for name, value in options.items() if value is not None})
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})
