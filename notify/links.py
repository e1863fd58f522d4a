"""Signed addresses: the links that decide one approval, and the addresses that take a reply."""

import hashlib
import hmac

from itsdangerous import BadData, URLSafeTimedSerializer

from domain.values import Value

LIFE_SECONDS = 60 * 60 * 24 * 60
REPLY, SIGNATURE = "reply+", 20
CODE_DIGITS = 6
DEVICE_SECONDS = 60 * 60 * 24 * 30


class Claim(Value):
    """What a link stands for: one person's decision on one approval, as one message asked for it."""

    message: str
    approval: str
    person: str
    digest: str = ""
    """Of what the letter showed: a decision binds to it. Empty in links of an earlier version."""

    @property
    def key(self) -> str:
        """Whatever way it comes, the decision is one command: a link decides once."""
        return f"message:{self.message}:{self.approval}"


class Links:
    def __init__(self, secret: str, base_url: str, domain: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._domain = domain
        self._signer = URLSafeTimedSerializer(secret, salt="dealwright decision link")
        self._devices = URLSafeTimedSerializer(secret, salt="dealwright remembered device")
        self._key = hashlib.sha256(f"dealwright reply address {secret}".encode()).digest()

    def decide(self, claim: Claim) -> str:
        """The address of the page that decides it. Opening it changes nothing."""
        return f"{self._base_url}/decide/{self._signer.dumps(list(vars(claim).values()))}"

    def claim(self, token: str) -> Claim | None:
        """What a link's token stands for; None if it is altered or too old."""
        try:
            message, approval, person, *digest = self._signer.loads(token, max_age=LIFE_SECONDS)
            return Claim(message=message, approval=approval, person=person, digest=digest[0] if digest else "")
        except (BadData, ValueError, TypeError):
            return None

    def subject(self, id: str) -> str:
        return f"{self._base_url}/quotes/{id}"

    def code(self, person: str, nonce: str) -> str:
        """The six digits of a one-time code: whoever reads the database alone cannot know them."""
        number = int.from_bytes(hmac.digest(self._key, f"code {person} {nonce}".encode(), "sha256")[:8])
        return f"{number % 10**CODE_DIGITS:0{CODE_DIGITS}}"

    def device(self, person: str) -> str:
        """What a browser keeps after a right code, so that it need not be asked again soon."""
        return str(self._devices.dumps(person))

    def person_of_device(self, token: str) -> str | None:
        try:
            return str(self._devices.loads(token, max_age=DEVICE_SECONDS))
        except (BadData, ValueError, TypeError):
            return None

    def reply_address(self, message: str) -> str:
        """Where a reply to a message is sent: upper and lower case mean the same, as mail servers may change it."""
        return f"{REPLY}{message}.{self._sign(message)}@{self._domain}"

    def replied_to(self, address: str) -> str | None:
        """The message that an address answers; None if the address is not one of ours."""
        local = address.strip("<> ").partition("@")[0].lower()
        message, dot, signature = local.removeprefix(REPLY).rpartition(".")
        ours = local.startswith(REPLY) and dot and hmac.compare_digest(signature.encode(), self._sign(message).encode())
        return message if ours else None

    def _sign(self, message: str) -> str:
        return hmac.new(self._key, message.encode(), hashlib.sha256).hexdigest()[:SIGNATURE]
