"""Own how figures are written for people: durations, counts, log-probs, intervals, bytes, moments. Pure."""

from datetime import UTC, datetime

NONE = "\u2013"
"""What stands where there is no figure."""
_SPANS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")


def figure(value: float | None, *, digits: int = 3) -> str:
    """Write a figure with so many decimals, very small and large ones by powers of ten; minus as U+2212."""
    if value is None:
        return NONE
    small = value != 0 and abs(value) < 0.5 * 10**-digits
    text = f"{value:.2e}" if small or abs(value) >= 1e7 else f"{value:,.{digits}f}"
    return text.replace("-", "\u2212")


def signed(value: float | None, *, digits: int = 3) -> str:
    """Write a difference with its sign."""
    text = figure(value, digits=digits)
    return text if value is None or value <= 0 else f"+{text}"


def interval(mean: float, low: float | None, high: float | None, *, digits: int = 3) -> str:
    """Write a mean with its 95% interval, where there is one."""
    if low is None or high is None:
        return figure(mean, digits=digits)
    return f"{figure(mean, digits=digits)} [{figure(low, digits=digits)}, {figure(high, digits=digits)}]"


def share(value: float | None) -> str:
    """Write a share of 1 in percent."""
    return NONE if value is None else f"{100 * value:.1f}%".replace("-", "\u2212")


def count(value: int | float | None) -> str:
    """Write a whole number with thousands apart."""
    return NONE if value is None else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Write a time span by its two largest units."""
    if seconds is None:
        return NONE
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def size(value: float | None) -> str:
    """Write bytes by the unit that leaves the fewest figures."""
    if value is None:
        return NONE
    rest, unit = float(value), 0
    while rest >= 1024 and unit < len(_BYTES) - 1:
        rest, unit = rest / 1024, unit + 1
    return f"{rest:.0f} B" if unit == 0 else f"{rest:.1f} {_BYTES[unit]}"


def moment(value: datetime | None) -> str:
    """Write an instant in UTC to the minute."""
    return NONE if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def clock(value: datetime) -> str:
    """Write an instant in UTC to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def ago(value: datetime | None, *, now: datetime) -> str:
    """Write how long something is past, by its largest unit."""
    if value is None:
        return NONE
    seconds = max(0, int((now - value).total_seconds()))
    if seconds < 5:
        return "just now"
    length, unit = next((length, unit) for length, unit in _SPANS if seconds >= length)
    return f"{seconds // length} {unit} ago"
