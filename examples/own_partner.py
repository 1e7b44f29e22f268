"""An agent of your own is a function of what it is shown; it takes a seat by --partners.agent_0 own_partner:Honest.

maporl play --env two_witnesses --seat agent_1 --partners.agent_0 own_partner:Honest      # from this folder
"""

from maporl.agents import ScriptedAgent


def report_or_follow(observation, rng):
    """With a clear view: what it shows, always. Through fog: at first what it shows, then whatever was said last."""
    kind, _, digit = observation["private"].rstrip(".").partition(" view: ")
    others = [m["text"] for m in observation["transcript"] if m["agent"] != observation["agent"]]
    return others[-1] if kind == "Foggy" and others else f"Answer: {digit}"


class Honest(ScriptedAgent):
    """Never lies, and knows what it does not know."""

    def __init__(self):
        super().__init__(report_or_follow)
