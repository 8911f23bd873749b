"""Counts of simulated ranks, each with images of its own, add up to those of one process."""

import torch
import torch.distributed as dist
from torch import Tensor

from segtrain.metrics import Counts, count, iou, macro
from tests.metrics.cases import equal, random_maps

RANKS = 2


def all_reduce_sum(tensor: Tensor) -> Tensor:
    dist.all_reduce(tensor)
    return tensor


def rank(number: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=RANKS)
    task, prediction, target = random_maps("multiclass", 0, images=5)
    mine = count(prediction[number::RANKS], target[number::RANKS], task).total().map(all_reduce_sum)
    torch.save(mine.tensors(), f"{folder}/{number}.pt")
    dist.destroy_process_group()


def test_counts_summed_over_ranks_are_those_of_one_process(tmp_path):
    torch.multiprocessing.spawn(rank, (str(tmp_path),), nprocs=RANKS)
    task, prediction, target = random_maps("multiclass", 0, images=5)
    alone = count(prediction, target, task)
    for number in range(RANKS):
        summed = Counts(*torch.load(tmp_path / f"{number}.pt"))
        assert equal(summed, alone.total())
        assert iou(summed).nanmean() == macro(alone, iou)
