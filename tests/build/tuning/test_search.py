"""The search along axes, with a fake that measures: what is tried, chosen and said."""

import math

import pytest

from segtrain.build.tuning.search import (
    OUT_OF_TIME,
    TOO_MUCH,
    Budget,
    Measured,
    Search,
    over_epochs,
    together,
    what_bounds,
)
from segtrain.build.tuning.settings import Axis


class Fake:
    """Measures by a table of rates in turn, in one second each, on a clock of its own."""

    def __init__(self, **rates):
        self.rates = {name: list(values) for name, values in rates.items()}
        self.asked = []
        self.time = 0.0

    def __call__(self, settings):
        name = settings["x"]
        self.asked.append(name)
        self.time += 1
        found = self.rates[name].pop(0) if len(self.rates[name]) > 1 else self.rates[name][0]
        return Measured(problem=found) if isinstance(found, str) else Measured(found, peak=100, seconds=1.0)


def search(fake, *, seconds=100.0, **options):
    budget = Budget(seconds, clock=lambda: fake.time)
    return Search(fake, budget=budget, margin=0.03, **{"worth": lambda _, rate: rate, **options})


def along(found, *names, start="a"):
    found.start({"x": start})
    return found.along(Axis("letters", "step", tuple({"x": name} for name in names)), {"x": start})["x"]


def test_the_quickest_is_chosen_after_both_were_measured_in_turn_once_more():
    fake = Fake(a=[10], b=[12], c=[11])
    found = search(fake)
    assert along(found, "b", "c") == "b"
    assert fake.asked == ["a", "b", "c", "a", "b"]
    assert [len(row.found) for row in found.rows] == [2, 2, 1]


def test_what_is_quicker_by_less_than_the_margin_is_not_chosen_nor_measured_again():
    fake = Fake(a=[100], b=[102])
    assert along(search(fake), "b") == "a"
    assert fake.asked == ["a", "b"]


def test_a_lead_that_the_second_look_takes_away_was_noise():
    assert along(search(Fake(a=[100, 112], b=[110, 100])), "b") == "a"  # means of 106 and 105


def test_what_runs_out_of_memory_is_a_row_and_not_the_end():
    found = search(Fake(a=[10], b=["out of memory"], c=[20]))
    assert along(found, "b", "c") == "c"
    assert [row.problem for row in found.rows] == [None, "out of memory", None]


def test_a_start_that_cannot_run_is_left_for_whatever_can():
    assert along(search(Fake(a=["out of memory"], b=[1])), "b") == "b"


def test_memory_beyond_the_limit_is_a_problem_and_what_is_predicted_to_need_more_is_not_tried():
    fake = Fake(a=[10], b=[20], c=[30])
    found = search(fake, limit=99, predict=lambda settings: 2**29 if settings["x"] == "c" else None)
    assert along(found, "b", "c") == "a"
    assert fake.asked == ["a", "b"]
    assert [row.problem for row in found.rows] == [TOO_MUCH, TOO_MUCH, "not measured: would need some 0.5 GiB"]


def test_when_the_time_is_over_the_rest_is_said_not_to_be_measured():
    fake = Fake(a=[10], b=[9], c=[50])
    found = search(fake, seconds=2.5)
    assert along(found, "b", "c") == "a"
    assert fake.asked == ["a", "b"]
    assert found.rows[-1].problem == OUT_OF_TIME


def test_what_there_was_no_time_for_is_measured_when_there_is():
    fake = Fake(a=[10], b=[20])
    found = search(fake, seconds=1.5)
    assert along(found, "b") == "a"
    found.budget = Budget(100, clock=lambda: fake.time)
    assert found.along(Axis("letters", "step", ({"x": "b"},)), {"x": "a"}) == {"x": "b"}
    assert [row.problem for row in found.rows] == [None, None]


def test_a_part_that_the_other_one_waits_for_is_not_looked_at():
    fake = Fake(a=[1000], b=[2000])
    bounded = search(fake, worth=lambda _, rate: min(rate, 50))
    assert along(bounded, "b") == "a"
    assert fake.asked == ["a"]


def test_options_are_measured_once_whatever_axis_they_are_on():
    fake = Fake(a=[10], b=[9])
    found = search(fake)
    along(found, "b")
    assert found.along(Axis("again", "step", ({"x": "b"},)), {"x": "a"}) == {"x": "a"}
    assert fake.asked == ["a", "b"]


def test_what_is_paid_once_is_spread_over_the_training():
    def measure(settings):
        return Measured(10.0, seconds=1) if settings["x"] == "a" else Measured(20.0, seconds=1, startup=30)

    def choice(images):
        found = Search(measure, budget=Budget(1000), margin=0.03, worth=lambda _, rate: rate, images=images)
        return along(found, "b")

    assert choice(500) == "a"  # 50 s against 25 and 30
    assert choice(700) == "b"  # 70 s against 35 and 30


def test_an_option_that_takes_long_is_not_begun_without_the_time_for_it():
    fake = Fake(a=[10], b=[20])
    found = search(fake, seconds=10)
    found.start({"x": "a"})
    assert found.along(Axis("long", "step", ({"x": "b"},), least_seconds=20), {"x": "a"}) == {"x": "a"}
    assert fake.asked == ["a"]


def test_a_share_of_a_budget_is_of_what_is_left():
    time = [0.0]
    budget = Budget(60, clock=lambda: time[0])
    time[0] = 20.0
    assert budget.share(0.5).left == 20
    time[0] = 70.0
    assert budget.share(0.5).left == 0


@pytest.mark.parametrize(
    ("step", "loader", "workers", "threads", "expected"),
    [
        (30, 60, 0, 2, 20),  # in turns: 1/30 + 1/60
        (30, 60, 2, 2, 20),  # both on both cores: the same
        (30, 60, 1, 2, 24),  # 2/30 + 1/60 of core seconds, on two cores
        (30, 60, 1, 1, 30),  # a core for each: the slower one decides
        (30, 60, 4, 0, 30),  # on a GPU
        (60, 30, 4, 0, 30),
        (30, math.inf, 2, 2, 30),
        (0, 30, 2, 2, 0),
    ],
)
def test_what_is_expected_of_both_together(step, loader, workers, threads, expected):
    assert together(step, loader, workers=workers, threads=threads, cores=2) == pytest.approx(expected)


def test_the_sentence_names_what_the_run_waits_for_with_both_rates():
    assert what_bounds(20, 300, 18.75) == (
        "the step bounds the run: alone it makes 20 images/s, the loader 300; together 18.75 are expected"
    )
    assert what_bounds(300, 20, 18.75).startswith("the loader bounds the run: alone it makes 20 images/s, the step 300")
    assert "nothing could be measured of the loader" in what_bounds(300, 0, 0)


def test_a_loader_s_rate_over_epochs_has_one_of_reading_and_others_from_the_cache():
    assert over_epochs(100, 400, epochs=1, held=1.0) == 100
    assert over_epochs(100, 400, epochs=4, held=1.0) == pytest.approx(4 / (1 / 100 + 3 / 400))
    assert over_epochs(100, 400, epochs=4, held=0.0) == pytest.approx(100)
    assert over_epochs(100, 400, epochs=3, held=0.5) == pytest.approx(3 / (1 / 100 + 2 * (0.5 / 100 + 0.5 / 400)))
