"""Signing in: local accounts, bearer tokens, API keys."""

import asyncio
import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from pwdlib import PasswordHash

from domain.errors import Invalid, NotFound, NotSignedIn
from domain.people import Person
from domain.sentences import Sentence
from services.context import ServiceContext
from services.runs.commands import Caller
from storage.people import people

KEY_PREFIX = "dw_"
ALGORITHM = "HS256"
TOKENS_REMEMBERED = 1000
SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 200


class Access:
    def __init__(
        self, context: ServiceContext, secret: str, token_life: timedelta, hashes: PasswordHash | None = None
    ) -> None:
        self._context = context
        self._key = OctKey.import_key(secret)
        self._life = token_life
        self._hashes = hashes or PasswordHash.recommended()
        self._nobody = self._hashes.hash(secrets.token_hex())
        self._said = lru_cache(TOKENS_REMEMBERED)(self._claims)  # what a token says never changes

    async def sign_in(self, id: str, password: str) -> tuple[str, Person]:
        """A bearer token. The same words and the same work whether the person or the password is wrong."""
        async with self._context.database.reading() as session:
            found = await people.login_of(session, id)
        person, hash, _ = found or (None, None, None)
        right = await asyncio.to_thread(self._hashes.verify, password[:LONGEST_PASSWORD], hash or self._nobody)
        if person is None or hash is None or not right or not person.active:
            raise NotSignedIn("The user or the password is not right.")
        return self.token(person), person

    def token(self, person: Person) -> str:
        now = self._context.clock()
        claims = {"sub": person.id, "iat": now.timestamp(), "exp": (now + self._life).timestamp()}
        return jwt.encode({"alg": ALGORITHM}, claims, self._key)

    async def person(self, credential: str) -> Person:
        """Who a bearer token or an API key belongs to. Raises NotSignedIn."""
        found = await (self._by_key(credential) if credential.startswith(KEY_PREFIX) else self._by_token(credential))
        if found is None or not found.active:
            raise NotSignedIn("Sign in again: this token or key is not valid any more.")
        return found

    def _claims(self, token: str) -> tuple[str, float, float] | None:
        """Whom a token names, since when and until when; None for what we did not sign."""
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM]).claims
            return str(claims["sub"]), float(claims["iat"]), float(claims["exp"])
        except (JoseError, ValueError, KeyError, TypeError):
            return None

    async def _by_token(self, token: str) -> Person | None:
        claims = self._said(token)
        if claims is None:
            return None
        id, issued, expires = claims
        if expires < self._context.clock().timestamp():
            return None
        async with self._context.database.reading() as session:
            found = await people.login_of(session, id)
        if found is None:
            return None
        person, _, valid_from = found
        return None if valid_from and datetime.fromtimestamp(issued, UTC) < valid_from else person

    async def _by_key(self, key: str) -> Person | None:
        prefix, _, secret = key.removeprefix(KEY_PREFIX).partition("_")
        if not re.fullmatch(r"[0-9a-f]{12}", prefix):
            return None
        async with self._context.database.reading() as session:
            found = await people.key_owner(session, prefix)
            if found is None or not hmac.compare_digest(found[1], _hashed(secret)):
                return None
            return await people.load_person(session, found[0])

    async def set_password(self, caller: Caller, id: str, password: str) -> None:
        """Give a person a password; every token issued before ends."""
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise Invalid.field(
                "password", "must have {least} to {most} characters", least=SHORTEST_PASSWORD, most=LONGEST_PASSWORD
            )
        hash = await asyncio.to_thread(self._hashes.hash, password)
        context = self._context
        async with context.database.writing() as session:
            if await people.load_person(session, id) is None:
                raise NotFound(Sentence("There is no user {id!r}.", id=id))
            await people.set_password(session, id, hash, context.clock())
            await context.audit(session, caller, f"user:{id}", "password_set")

    async def new_key(self, caller: Caller, id: str, note: str = "") -> str:
        """An API key for a person. It is shown once and kept only as a hash."""
        prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        context = self._context
        async with context.database.writing() as session:
            if await people.load_person(session, id) is None:
                raise NotFound(Sentence("There is no user {id!r}.", id=id))
            await people.add_key(session, prefix, _hashed(secret), id, note, context.clock())
            await context.audit(session, caller, f"user:{id}", "key_made", prefix=prefix, note=note)
        return f"{KEY_PREFIX}{prefix}_{secret}"

    async def revoke_key(self, caller: Caller, prefix: str) -> None:
        context = self._context
        async with context.database.writing() as session:
            owner = await people.key_owner(session, prefix)
            if not await people.revoke_key(session, prefix, context.clock()):
                raise NotFound(Sentence("There is no key {prefix!r}.", prefix=prefix))
            if owner:
                await context.audit(session, caller, f"user:{owner[0]}", "key_revoked", prefix=prefix)


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
