"""Signing in, and who one is."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.problems import answers
from api.requests import APerson, ContainerDep, RequestBody
from domain.people import Person
from domain.values import Id, Text
from services.people.access import LONGEST_PASSWORD

router = APIRouter(prefix="/v1", tags=["session"])


class SignIn(RequestBody):
    user: Id
    password: Annotated[Text, Field(max_length=LONGEST_PASSWORD)]


class Token(BaseModel):
    access_token: str
    token_type: str = "bearer"


@router.post("/auth/token", responses=answers(401, 422, 429))
async def sign_in(container: ContainerDep, asked: SignIn) -> Token:
    """A bearer token for a local account."""
    token, _ = await container.access.sign_in(asked.user, asked.password)
    return Token(access_token=token)


@router.get("/me", responses=answers(401))
async def me(person: APerson) -> Person:
    """Who the token belongs to."""
    return person
