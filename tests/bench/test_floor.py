"""The floors compute what was counted, no more and no less; and the section's rows divide what they say."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.bare import RolloutFloor, UpdateFloor
from bench.floor import peaks, rollout_rows, rows, update_rows, works
from bench.settings import Settings
from bench.work import Geometry, rollout_flops, update_flops, work_of
from bench.workload import Workload, make_talkative, rewarded, tokens_of

GROUPED = Geometry(layers=2, hidden=8, heads=4, kv_heads=2, head_dim=4, intermediate=12, vocab=700)
QUICK = Settings(quick=True, repetitions=2)


def executed(floor: RolloutFloor | UpdateFloor) -> int:
    with FlopCounterMode(display=False) as counter:
        floor.run()
    return counter.get_total_flops()


def test_the_rollouts_products_are_those_counted() -> None:
    sizes = {"batch": 6, "prompt": 5, "new": 4, "distinct": 3}
    counted = rollout_flops(GROUPED, **sizes)
    # One batched product multiplies the whole square of a prompt's positions, of which causal attention needs the lower half.
    square = 3 * (5 * 5 - 5 * 6 // 2) * 2 * 2 * 4 * 4 * 2
    for chunk in (5, 10, 2048):
        assert executed(RolloutFloor(GROUPED, **sizes, chunk=chunk)) == counted + square


def test_an_adapter_that_is_not_merged_adds_its_products() -> None:
    sizes = {"batch": 6, "prompt": 5, "new": 4, "distinct": 3}
    merged, rank_2 = (executed(RolloutFloor(GROUPED, **sizes, rank=rank)) for rank in (0, 2))
    ends = sum(i + o for i, o in GROUPED.linears.values())
    assert rank_2 - merged == 2 * 2 * ends * 2 * (3 * 5 + 6 * 3)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_the_updates_products_are_those_counted(shared: bool, rank: int) -> None:
    rng = np.random.default_rng(0)
    prompts = [np.arange(6)] * 3 + [np.arange(7)]
    completions = [rng.integers(100, 600, n) for n in (2, 3, 3, 5)]
    work = work_of(prompts, completions, shared=shared)
    square = sum(n * (q * k - (q * (k - q) + q * (q + 1) // 2)) for (q, k), n in work.blocks.items())
    counted = update_flops(GROUPED, work, rank) + square * 2 * 6 * 4 * 4 * 2
    for chunk in (4, 2048):
        assert executed(UpdateFloor(GROUPED, [work], rank=rank, chunk=chunk)) == counted


def test_floors_know_other_dtypes() -> None:
    RolloutFloor(GROUPED, batch=2, prompt=3, new=2, dtype=torch.bfloat16).run()
    work = work_of([np.arange(3)], [np.arange(2)], shared=False)
    UpdateFloor(GROUPED, [work], rank=2, dtype=torch.bfloat16).run()


def test_shares_are_floor_over_ours() -> None:
    found = {row.name: row for row in rows(QUICK)}
    for name, row in found.items():
        if name.startswith("rollout") and name.endswith("share of the floor"):
            what = name.removesuffix(": share of the floor")
            assert row.target == ">= 0.40" and row.low <= row.value <= row.high
            ours, floor = found[f"{what}: ours"], found[f"{what}: floor"]
            assert ours.low / floor.high <= row.value <= ours.high / floor.low
    for tokens in ("all", "distinct"):
        share, floor = found[f"update, {tokens} tokens: share of the floor"], found[f"update, {tokens} tokens: floor"]
        assert share.target == (">= 0.60" if tokens == "distinct" else None)
        assert floor.low / found["update: ours"].high <= share.value <= floor.high / found["update: ours"].low
    assert int(found["update, all tokens: floor"].note.split()[0].replace(",", "")) > int(
        found["update, distinct tokens: floor"].note.split()[0].replace(",", "")
    ), "rows of a group share their prompt"


def test_peaks_are_rates() -> None:
    measured = peaks(QUICK)
    assert set(measured) == {("matmul", "FLOP/s"), ("memory", "B/s")} and min(measured.values()) > 1e6


def test_a_message_that_ends_early_is_refused(tmp_path: Path) -> None:
    policy = make_talkative(QUICK.policy(tmp_path), mean_length=2.0)
    policy.add_adapter("agent_0")
    with pytest.raises(RuntimeError, match="not comparable"):
        rollout_rows(QUICK, policy, 8, 4, 8, 1, {})


def test_works_have_an_entry_for_each_adapter(tmp_path: Path) -> None:
    policy = make_talkative(QUICK.policy(tmp_path))
    workload = Workload.build(policy, QUICK, discussions=4, new_tokens=3, group_size=2)
    episodes = workload.sample(0)
    apart, shared = (works(workload, episodes, shared=s) for s in (False, True))
    assert len(apart) == len(shared) == 2
    prompts = [len(c.prompt_ids) for e in episodes for c in e.completions]
    assert sum(w.tokens for w in apart) == sum(prompts) + 8 * 2, "the last of three tokens is not read"
    assert sum(w.judged for w in apart) == tokens_of(episodes) == 8 * 3
    # Two questions, each asked twice: a prompt counts once for each adapter. Messages may begin alike by chance.
    assert sum(w.tokens for w in shared) <= sum(prompts) // 2 + 8 * 2
    others = rewarded(episodes, 0)
    assert statistics.pstdev([reward for e in others for reward in e.rewards]) > 0.1
    assert [e.transcript for e in others] == [e.transcript for e in episodes]


def test_update_rows_on_a_machine_with_known_peaks(tmp_path: Path) -> None:
    policy = make_talkative(QUICK.policy(tmp_path))
    workload = Workload.build(policy, QUICK, discussions=4, new_tokens=3, group_size=2)
    peak = {("matmul", "FLOP/s"): 1e9, ("memory", "B/s"): 1e6}
    found = {row.name: row for row in update_rows(QUICK, policy, workload, peak)}
    geometry = Geometry.of(policy.model.config)
    needed = works(workload, workload.sample(0), shared=False)
    flops = sum(update_flops(geometry, w, policy.lora.r) for w in needed)
    used = found["update, all tokens: model FLOP utilisation"]
    assert used.low == pytest.approx(flops / 1e9 / found["update: ours"].high)
    generated = rollout_rows(QUICK, policy, 4, 5, 3, 2, peak)
    by_name = {row.name.rpartition(": ")[2]: row for row in generated}
    assert by_name["share of what binds"].value >= by_name["share of matrix peak"].value
    assert by_name["share of what binds"].value >= by_name["share of memory bandwidth"].value


def test_every_repetition_of_ours_reads_every_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_talkative(QUICK.policy(tmp_path))
    policy.add_adapter("agent_0")
    assert policy.backbone.exact
    read, original = [], policy.backbone.run

    def run(ids: torch.Tensor, *rest: object) -> torch.Tensor:
        read.append(ids.numel() if ids.shape[1] > 1 else 0)
        return original(ids, *rest)

    monkeypatch.setattr(policy.backbone, "run", run)
    rollout_rows(QUICK, policy, 8, 16, 4, 2, {})
    assert sum(read) == (QUICK.repetitions + 1) * (8 // 2) * 16
