"""Samplers of one's own, named as ``toy_samplers:Name``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch

from maporl.agents import Policy, Request, Sampled, Sampler
from maporl.agents.reference_sampler import ReferenceSampler


class Recording(Sampler):
    """The reference, as if it were a server: remembers what it is given, in order."""

    reproducible = True
    log: ClassVar[list[list[Request] | tuple[str, int, dict[str, torch.Tensor]]]] = []

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.reference = ReferenceSampler(policy)

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        Recording.log.append(list(requests))
        return self.reference.sample(requests)

    def publish(self, adapter: str, version: int, weights: Mapping[str, torch.Tensor]) -> None:
        Recording.log.append((adapter, version, {name: tensor.clone() for name, tensor in weights.items()}))


class Careless(Recording):
    """Does not promise the same messages again."""

    reproducible = False


class Wasteful(Recording):
    """Throws away three tokens for every message."""

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        return [replace(sampled, discarded=3) for sampled in super().sample(requests)]
