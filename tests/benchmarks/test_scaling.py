import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks.scaling import PAGE, rewritten
from benchmarks.scaling_costs import (
    Assumptions,
    data_cost,
    first_limit,
    run_cost,
    sent_bytes,
    steps_between,
)
from benchmarks.scaling_tables import all_tables, number
from benchmarks.unit_costs_model import SIZES, checkpoint_bytes, count_model
from musicgen_train.errors import UserError
from tests.training.small_runs import parts_of, trainer_of

FAST = Assumptions(network=1e9, node_network=1e9, disk=1e9)  # nothing but computing takes time


@pytest.fixture(scope="module")
def costs():
    return {
        "cpu": "a CPU", "gpu": None, "models": {size: count_model(size) for size in SIZES},
        "training": {"flops_per_second": 1e11, "dim": 512, "layers": 8},
        "checkpoint": {"bytes_per_second": 5e8},
        "index": {"samples": 1e6, "bytes_per_sample": 100.0, "order_bytes_per_sample": 8.0,
                  "open_seconds_per_million": 1.0},
        "loading": {"codes": {"samples_per_second": 5000.0, "bytes_per_second": 1e8},
                    "audio": {"samples_per_second": 70.0, "bytes_per_second": 1e8}},
        "preparing": {"prepare_core_seconds_per_hour": 15.0, "shard_bytes_per_hour": 1e8,
                      "tokenize_core_seconds_per_hour": 750.0, "codes_bytes_per_hour": 2.6e6,
                      "tokenize_flops_per_second": 1e10},
        "separating": {"times_real_time_of_a_core": 0.3, "flops_per_second_of_music": 4e10},
    }  # fmt: skip


def test_tokens_of_20_000_hours_are_14_4_billion(costs):
    assert data_cost(costs, 20_000, Assumptions()).tokens == 20_000 * 3600 * 50 * 4 == 14.4e9


def test_everything_of_a_library_is_linear_in_its_hours(costs):
    one, fifty = (vars(data_cost(costs, hours, Assumptions())) for hours in (20_000, 1_000_000))
    assert {name: 50 * value for name, value in one.items()} == pytest.approx(fifty)


def test_storage_is_paid_by_the_terabyte_and_month(costs):
    cost = data_cost(costs, 1000, Assumptions(tb_month=10.0, source_kbps=8.0))
    terabytes = 1000 * (3600 * 1000 + 1e8 + 2.6e6) / 1e12
    assert cost.month == pytest.approx(10 * terabytes)


def test_prices_change_money_and_nothing_else(costs):
    cheap, dear = (run_cost(costs, "small", 8, Assumptions(gpu_hour=p)) for p in (1.0, 3.0))
    assert dear.money == pytest.approx(3 * cheap.money)
    assert replace(dear, money=0) == replace(cheap, money=0)


@pytest.mark.parametrize("size", SIZES)
def test_twice_the_gpus_take_half_the_hours_and_the_same_money_while_computing_limits(costs, size):
    one, two = (run_cost(costs, size, gpus, FAST) for gpus in (8, 16))
    assert one.hours == pytest.approx(2 * two.hours, rel=1e-6)
    assert one.money == pytest.approx(two.money, rel=1e-6)
    assert one.limit == two.limit == "computing"


def test_gpu_hours_are_all_flops_over_what_a_gpu_reaches(costs):
    run = run_cost(costs, "medium", 8, FAST)
    flops = 192e6 * costs["models"]["medium"]["flops_per_sample"]
    assert run.gpu_hours == pytest.approx(flops / (989.4e12 * 0.4) / 3600, rel=1e-6)


def test_more_gpus_than_segments_make_the_batch_larger_and_the_music_the_same(costs):
    run = run_cost(costs, "small", 512, Assumptions())
    assert (run.batch_per_gpu, run.batch, run.steps) == (1, 512, 375_000)
    assert run.limit.startswith("batch")
    assert not run_cost(costs, "small", 192, Assumptions()).limit.startswith("batch")


@pytest.mark.parametrize("gpus", [8, 64, 512])
def test_shards_send_half_as_much_again_as_copies_and_less_than_their_limit(gpus):
    copies, shards = (sent_bytes(1e9, gpus, sharded) for sharded in (False, True))
    assert shards == 1.5 * copies < 12e9
    assert sent_bytes(1e9, 1, True) == 0


def test_a_slow_network_is_named_as_the_limit_and_stretches_the_step(costs):
    run = run_cost(costs, "small", 64, Assumptions(network=1.0))
    assert run.limit == "network"
    assert run.step_seconds == run.network_seconds > run.compute_seconds


def test_a_slow_disk_is_named_as_the_limit(costs):
    run = run_cost(costs, "large", 64, Assumptions(network=1e9, disk=0.01))
    assert run.limit == "checkpoints" and run.checkpoint_share > 0.5


def test_the_interval_gives_checkpoints_the_share_that_was_asked_for(costs):
    run = run_cost(costs, "large", 64, Assumptions())
    again = run_cost(costs, "large", 64, Assumptions(every=steps_between(run, 0.01)))
    assert again.checkpoint_share == pytest.approx(0.01, rel=1e-3)


def test_what_slows_by_less_than_a_twentieth_is_no_limit():
    assert first_limit({"network": 0.9, "checkpoints": 1.01, "loader": 0.2}, False) == "computing"


def test_fully_sharded_state_is_divided_and_copied_state_is_not(costs):
    def state(size, gpus):
        return run_cost(costs, size, gpus, Assumptions()).state_bytes

    assert state("medium", 8) == pytest.approx(8 * state("medium", 64))
    assert state("small", 8) == state("small", 64)


def test_flops_of_a_token_are_more_than_six_a_parameter(costs):
    for size in SIZES:
        model = costs["models"][size]
        frame = model["flops_per_token"] * model["n_q"]  # all codebooks go through together
        assert 6 * 0.8 * model["parameters"] < frame < 6 * 2 * model["parameters"]


def test_a_page_keeps_its_text_and_gets_the_tables(costs):
    tables = all_tables(costs, Assumptions())
    page = "".join(f"before {n}\n<!-- table {n} -->\nold\n<!-- end -->\n" for n in tables)
    once = rewritten(page, tables)
    assert "old" not in once and all(f"before {n}" in once for n in tables)
    assert all(t in once for t in tables.values()) and rewritten(once, tables) == once


@pytest.mark.parametrize("page", ["", "<!-- table a -->\n", "<!-- table b -->\n<!-- end -->"])
def test_a_page_without_a_table_is_refused(page):
    with pytest.raises(UserError, match="table"):
        rewritten(page, {"a": "| 1 |"})


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "0.123"), (12.34, "12.3"), (1234.5, "1,230"), (0, "0")]
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_the_command_rewrites_the_page_and_refuses_other_files_in_one_line(costs, tmp_path):
    page = tmp_path / "page.md"
    names = all_tables(costs, Assumptions())
    page.write_text("".join(f"<!-- table {n} -->\n<!-- end -->\n" for n in names))
    (tmp_path / "costs.json").write_text(json.dumps(costs))
    (tmp_path / "other.json").write_text("{}")

    def run(name):
        command = [sys.executable, "-m", "benchmarks.scaling", tmp_path / name, "--page", page]
        return subprocess.run([*command, "--gpu-hour", "7"], capture_output=True, text=True)

    assert run("costs.json").returncode == 0
    assert "| `--gpu-hour` | 7.0 |" in page.read_text()
    refused = run("other.json")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "lacks" in refused.stderr


def test_a_checkpoint_is_sixteen_bytes_a_parameter(datasets, tmp_path):
    averaged = ["task.ema_decay=0.99", "task.ema_every=1", "model.dim=64"]
    _, task, data = parts_of("lm_demo", datasets, *averaged)
    trainer = trainer_of(max_steps=2)
    trainer.fit(task, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    n_parameters = sum(p.numel() for p in task.parameters() if p.requires_grad)
    found = sum(t.nbytes for t in tensors_in([content["state_dict"], content["optimizer_states"]]))
    assert found == pytest.approx(checkpoint_bytes(n_parameters), rel=0.01)


def tensors_in(tree):
    """Every tensor of nested dictionaries and lists."""
    if isinstance(tree, torch.Tensor):
        return [tree]
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else []
    return [tensor for child in children for tensor in tensors_in(child)]


def test_the_page_of_the_repository_has_every_table(costs):
    assert rewritten(PAGE.read_text(), all_tables(costs, Assumptions()))
