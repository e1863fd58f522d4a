"""Rounds, policies, delegations and inboxes."""
