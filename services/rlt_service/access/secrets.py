"""Own the form of an API key, `rlt_<id>_<43 characters>`: made, taken apart, compared. Only its SHA-256 is stored."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

_FORM = re.compile(r"rlt_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A key as its holder has it; its text is in no repr, so that no log shows it by accident."""

    key_id: str
    text: str = field(repr=False)

    @property
    def sha256(self) -> str:
        """What is stored of it; 256 random bits need no salt and no slow hash."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def is_of(self, sha256: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.sha256, sha256)


def make_secret(key_id: str | None = None) -> Secret:
    """Draw a key, or another secret for the key of that id."""
    chosen = secrets.token_hex(6) if key_id is None else key_id
    return Secret(key_id=chosen, text=f"rlt_{chosen}_{secrets.token_urlsafe(32)}")


def read_secret(authorization: str) -> Secret | None:
    """Read the header `Authorization: Bearer rlt_…`; None where it has another form."""
    scheme, _, text = authorization.partition(" ")
    found = _FORM.fullmatch(text.strip())
    if scheme.lower() != "bearer" or found is None:
        return None
    return Secret(key_id=found[1], text=found[0])
