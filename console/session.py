"""Who is signed in: a cookie holds their token."""

from typing import Annotated, Any

from fastapi import Depends, Request

from api.requests import ContainerDep
from domain.errors import NotSignedIn
from domain.people import Person

COOKIE = "dealwright"


async def signed_in(request: Request, container: ContainerDep) -> Person:
    token = request.cookies.get(COOKIE)
    if not token:
        raise NotSignedIn("Sign in first.")
    return await container.access.person(token)


Me = Annotated[Person, Depends(signed_in)]


async def find_visitor(request: Request, container: Any) -> Person | None:
    """Who is signed in here, if anybody is."""
    try:
        return await container.access.person(request.cookies[COOKIE]) if COOKIE in request.cookies else None
    except NotSignedIn:
        return None
