"""Approvals: policies, rounds, decisions, delegation, links and replies."""
