"""The keys that seal what Temporal keeps for us. Neither Temporal nor the database holds them."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CommandKeys:
    """Keys by id, and the id of the one in use: what earlier ones sealed stays readable."""

    current: str
    by_id: Mapping[str, bytes]

    def seal(self, text: str) -> tuple[str, str]:
        """The id of the key in use, and its MAC of the text."""
        return self.current, self._mac(self.by_id[self.current], text)

    def holds(self, key: str, mac: str, text: str) -> bool:
        """Whether one of our keys sealed this text."""
        known = self.by_id.get(key)
        return known is not None and hmac.compare_digest(mac, self._mac(known, text))

    def _mac(self, key: bytes, text: str) -> str:
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
