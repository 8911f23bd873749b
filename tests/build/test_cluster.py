"""Memory, traffic and time on many GPUs, against numbers worked out by hand."""

import pytest

from segtrain.build.cluster import Cluster, memory, step_time, traffic
from segtrain.build.footprint import Footprint

MIB = 2**20
MODEL = Footprint(
    weights=100 * MIB,
    buffers=4 * MIB,
    gradients=100 * MIB,
    optimizer=200 * MIB,
    average=0,
    copies=50 * MIB,
    activations=1000 * MIB,
    passing=20 * MIB,
    block=10 * MIB,
    rest=5 * MIB,
    operations=3000,
)


def test_a_ring_sends_the_gradients_almost_twice_and_fsdp_half_as_much_again():
    assert traffic(MODEL, "ddp", 4) == 150 * MIB  # 2 * 3/4 * 100
    assert traffic(MODEL, "fsdp", 4) == 225 * MIB  # 3/4 * (100 + 100 + 100)
    assert traffic(MODEL, "ddp", 1) == traffic(MODEL, "fsdp", 1) == 0


def test_ddp_holds_everything_on_each_gpu_and_fsdp_a_share_and_three_blocks():
    kept = {name: value / MIB for name, value in memory(MODEL, "ddp", 4).items()}
    assert kept == {"weights": 154, "gradients": 100, "optimizer": 200, "activations": 1020}
    shared = {name: value / MIB for name, value in memory(MODEL, "fsdp", 4).items()}
    assert shared == {
        "weights": 79,
        "gradients": 25,
        "optimizer": 50,
        "activations": 1060,
    }  # three blocks, and the rest twice
    assert memory(MODEL, "fsdp", 1) == memory(MODEL, "ddp", 1)


def cluster(bandwidth, gpus=4):
    return Cluster(gpus, per_node=8, speed=1000, link=bandwidth * MIB, network=bandwidth * MIB)


def test_what_ddp_sends_is_hidden_behind_the_backward_pass_as_far_as_that_goes():
    time = step_time(MODEL, "ddp", cluster(50))
    assert (time.computing, time.sending, time.waiting) == (3, 3, pytest.approx(1))  # 3 s less 2/3 of 3 s
    assert time.efficiency == pytest.approx(0.75)
    # quick enough to hide, but for the last of four buckets: a quarter of 0.15 s
    assert step_time(MODEL, "ddp", cluster(1000)).waiting == pytest.approx(0.15 / 4)


def test_what_fsdp_sends_is_hidden_behind_both_passes_but_for_the_first_block_and_the_rest():
    assert step_time(MODEL, "fsdp", cluster(50)).waiting == pytest.approx(1.5)  # 4.5 s less 3 s
    assert step_time(MODEL, "fsdp", cluster(100)).waiting == pytest.approx(0.3375)  # 15 of 100 MiB, of 2.25 s


def test_beyond_one_machine_the_slower_of_link_and_network_bounds_the_ring():
    for gpus, network, expected in ((8, 100, 450), (16, 100, 100), (16, 900, 450)):
        assert Cluster(gpus, per_node=8, speed=1, link=450, network=network).bandwidth == expected
