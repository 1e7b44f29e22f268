"""Rollout and update as shares of their floors: the same arithmetic in bare tensors, computed on the spot and alternately.

A floor runs under the same precision, threads and dtype. On a GPU the peaks of the machine are measured too, and what share of
them was used.
"""

from __future__ import annotations

import tempfile

import numpy as np
import torch

from bench.bare import RolloutFloor, UpdateFloor
from bench.rows import Row, each, interleaved, of, ratio
from bench.settings import Settings
from bench.work import Geometry, Work, rollout_bytes, rollout_flops, update_flops, work_of
from bench.workload import Workload, make_talkative, rewarded
from maporl.agents import Policy, Request, Sampling
from maporl.agents.checkpoints import DTYPES
from maporl.threads import torch_settings
from maporl.types import Episode

__all__ = ["peaks", "rollout_rows", "rows", "update_rows", "works"]

SECTION = "floor"


def rows(settings: Settings) -> list[Row]:
    """Shares of the floor, and on a GPU of its peaks."""
    with tempfile.TemporaryDirectory() as scratch:
        policy = make_talkative(settings.policy(scratch))
        discussions, new = (16, 4) if settings.quick else (64, 32) if settings.device == "cpu" else (128, 128)
        workload = Workload.build(policy, settings, discussions=discussions, new_tokens=new)
        with torch_settings(workload.config):
            found = peaks(settings) if settings.device.startswith("cuda") else {}
            batch, prompt, new = (16, 16, 4) if settings.quick else (256, 64, 32)
            result = []
            for group in (1, 8):
                result += rollout_rows(settings, policy, batch, prompt, new, group, found)
            result += update_rows(settings, policy, workload, found)
    machine = [of(SECTION, f"peak, {name}", value, unit) for (name, unit), value in found.items()]
    return machine + result


def peaks(settings: Settings) -> dict[tuple[str, str], float]:
    """(what, unit) -> the best this device does: a large product in `dtype`, a large copy (bytes read and written)."""
    dtype, size = DTYPES[settings.dtype], 1024 if settings.quick else 8192
    a, b = (torch.randn(size, size, dtype=dtype, device=settings.device) for _ in range(2))
    product = torch.empty_like(a)
    source = torch.zeros((2**24 if settings.quick else 2**30) // 4, device=settings.device)
    target = torch.empty_like(source)
    steps = {
        "matmul": lambda: settings.timed(lambda: torch.mm(a, b, out=product)),
        "copy": lambda: settings.timed(lambda: target.copy_(source)),
    }
    seconds = {name: min(series) for name, series in interleaved(steps, 10).items()}
    return {
        ("matmul", "FLOP/s"): 2 * size**3 / seconds["matmul"],
        ("memory", "B/s"): 2 * 4 * source.numel() / seconds["copy"],
    }


def rollout_rows(
    settings: Settings,
    policy: Policy,
    batch: int,
    prompt: int,
    new: int,
    group: int,
    peak: dict[tuple[str, str], float],
) -> list[Row]:
    """`Policy.sample` with a LoRA adapter against the floor with merged weights, every message `new` tokens long.

    Args:
        settings: Of the run.
        policy: Talkative without end, with the adapter "agent_0".
        batch: Messages.
        prompt: Tokens of each prompt.
        new: Tokens of each message.
        group: Messages of each prompt; the floor reads a prompt once for all of them.
        peak: Of `peaks`; empty for no shares of the machine.

    Raises:
        RuntimeError: A message ended early: the two sides would not do the same work.
    """
    rng = np.random.default_rng(settings.seed)
    distinct = batch // group
    prompts = [ids for ids in rng.integers(0, len(policy.tokenizer), (distinct, prompt)) for _ in range(group)]
    uniforms, sampling = rng.random((batch, new), dtype=np.float32), Sampling(max_new_tokens=new)
    requests = [Request("agent_0", p, sampling, u) for p, u in zip(prompts, uniforms, strict=True)]
    geometry, dtype = Geometry.of(policy.model.config), DTYPES[settings.dtype]
    floor = RolloutFloor(
        geometry, batch=batch, prompt=prompt, new=new, distinct=distinct, dtype=dtype, device=settings.device
    )

    def ours() -> None:
        policy.sampler.forget()  # the same prompts again would come from the cache
        if any(len(s.ids) != new for s in policy.sample(requests)):
            raise RuntimeError("a message ended before its longest: floor and rollout are not comparable.")

    steps = {"ours": lambda: settings.timed(ours), "floor": lambda: settings.timed(floor.run)}
    series = interleaved(steps, settings.repetitions)
    what = f"rollout, B={batch}, {prompt} + {new} tokens" + (f", {group} messages a prompt" if group > 1 else "")
    target = None if settings.device != "cpu" else ">= 0.40"
    rates = {side: [batch * new / s for s in seconds] for side, seconds in series.items()}
    note = "floor: merged weights, each distinct prompt once"
    result = each(SECTION, what, rates, "tokens/s")
    result.append(ratio(SECTION, f"{what}: share of the floor", rates["ours"], rates["floor"], target, note, "share"))
    if peak:
        result += _roofline(what, series["ours"], geometry, batch, prompt, new, distinct, dtype.itemsize, peak)
    return result


def _roofline(
    what: str,
    seconds: list[float],
    geometry: Geometry,
    batch: int,
    prompt: int,
    new: int,
    distinct: int,
    size: int,
    peak: dict[tuple[str, str], float],
) -> list[Row]:
    flop_s, byte_s = peak["matmul", "FLOP/s"], peak["memory", "B/s"]
    flops = rollout_flops(geometry, batch=batch, prompt=prompt, new=new, distinct=distinct)
    prefill = rollout_flops(geometry, batch=batch, prompt=prompt, new=1, distinct=distinct)
    read = rollout_bytes(geometry, batch=batch, prompt=prompt, new=new, size=size)
    least = prefill / flop_s + max((flops - prefill) / flop_s, read / byte_s)
    note = "prefill at the matrix peak, decode at the one of the two that binds"
    return [
        of(SECTION, f"{what}: share of matrix peak", [flops / flop_s / s for s in seconds], "share"),
        of(SECTION, f"{what}: share of memory bandwidth", [read / byte_s / s for s in seconds], "share"),
        of(SECTION, f"{what}: share of what binds", [least / s for s in seconds], "share", ">= 0.50", note),
    ]


def works(workload: Workload, episodes: list[Episode], *, shared: bool) -> list[Work]:
    """What an update has to read, an entry for each adapter."""
    rows_of: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for turn in (turn for e in episodes for _, turn in e.said):
        assert turn.completion is not None
        rows_of.setdefault(turn.agent, []).append((turn.completion.prompt_ids, turn.completion.completion_ids))
    return [work_of([p for p, _ in own], [c for _, c in own], shared=shared) for own in rows_of.values()]


def update_rows(
    settings: Settings, policy: Policy, workload: Workload, peak: dict[tuple[str, str], float]
) -> list[Row]:
    """One MAGRPO update (a single pass, optimizer included) against the floor of all tokens, and of distinct prefixes only."""
    episodes = rewarded(workload.sample(0), settings.seed)
    geometry, dtype = Geometry.of(policy.model.config), DTYPES[settings.dtype]
    chunk = 2048 if settings.device == "cpu" else 16384
    needed = {name: works(workload, episodes, shared=name == "distinct") for name in ("all", "distinct")}
    floors = {
        name: UpdateFloor(geometry, work, rank=policy.lora.r, dtype=dtype, device=settings.device, chunk=chunk)
        for name, work in needed.items()
    }
    steps = {
        "ours": lambda: settings.timed(lambda: workload.algorithm.update(episodes)),
        "all": lambda: settings.timed(floors["all"].run),
        "distinct": lambda: settings.timed(floors["distinct"].run),
    }
    series = interleaved(steps, settings.repetitions)
    result = [of(SECTION, "update: ours", series["ours"], "s")]
    for name, note in (
        ("all", "not a floor of ours, which shares prefixes: every row by itself"),
        ("distinct", "floor: each distinct prefix of an adapter once"),
    ):
        tokens = sum(w.tokens for w in needed[name])
        flops = sum(update_flops(geometry, w, policy.lora.r) for w in needed[name])
        result.append(of(SECTION, f"update, {name} tokens: floor", series[name], "s", note=f"{tokens:,} tokens"))
        strict = name == "distinct"
        target = ">= 0.60" if strict and settings.device == "cpu" else None
        what = f"update, {name} tokens: share of the floor"
        result.append(ratio(SECTION, what, series[name], series["ours"], target, note, "share"))
        if peak:
            used = [flops / peak["matmul", "FLOP/s"] / s for s in series["ours"]]
            name = f"update, {name} tokens: model FLOP utilisation"
            mfu = ">= 0.40" if strict else None
            result.append(of(SECTION, name, used, "share", mfu, "no weight gradients of the frozen base"))
    return result
