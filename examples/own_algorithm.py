"""REINFORCE with a running mean as baseline: an algorithm of your own is a class that turns episodes into better agents.

maporl train --config two_witnesses --algorithm examples.own_algorithm:Reinforce --output_dir runs/own
"""

from maporl.algorithms import PolicyGradient
from maporl.algorithms.batch import TurnBatch


class Reinforce(PolicyGradient):
    """REINFORCE (Williams 1992): the log-probability of each message, weighted by its reward minus a running mean."""

    def __init__(self, team, *, decay=0.9, **settings):
        super().__init__(team, clip_range=None, loss_agg="sum", **settings)
        self.decay, self.baseline = decay, 0.0

    def update(self, episodes):
        batch = TurnBatch.collect(episodes, self.team)
        update = self.improve(batch, batch.rewards - self.baseline)
        self.baseline = self.decay * self.baseline + (1 - self.decay) * float(batch.rewards.mean())
        update.metrics["train/baseline"] = self.baseline
        return update

    def state_dict(self):
        return super().state_dict() | {"baseline": self.baseline}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.baseline = state["baseline"]
