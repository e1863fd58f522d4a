"""Who is signed in: a cookie holds their token."""

from typing import Annotated, Any

from fastapi import Depends, Request

from api.requests import AHouse
from domain.errors import NotSignedIn
from domain.people import Person

COOKIE = "dealwright"


async def signed_in(request: Request, house: AHouse) -> Person:
    token = request.cookies.get(COOKIE)
    if not token:
        raise NotSignedIn("Sign in first.")
    return await house.access.person(token)


Me = Annotated[Person, Depends(signed_in)]


async def find_visitor(request: Request, house: Any) -> Person | None:
    """Who is signed in here, if anybody is."""
    try:
        return await house.access.person(request.cookies[COOKIE]) if COOKIE in request.cookies else None
    except NotSignedIn:
        return None
