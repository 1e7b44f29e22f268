"""Teams of tiny models."""

from team_fixtures import checkpoint, make_team

__all__ = ["checkpoint", "make_team"]
