"""Which parameters the first stages of an encoder are."""

import pytest
from torch import nn

from segtrain.errors import ConfigError
from segtrain.models.encoders import TimmEncoder
from segtrain.models.encoders.freezing import frozen_modules, stage_parameters


@pytest.fixture(scope="module")
def encoder():
    return TimmEncoder("resnet18", weights=None)


def stages_of(names):
    """The first words of names such as ``model.layer2.0.conv1.weight`` that are parts of a ResNet."""
    parts = {part for name in names for part in name.split(".")}
    return sorted(
        parts & {"conv1", "layer1", "layer2", "layer3", "layer4"} - ({"conv1"} if "layer1" in parts else set())
    )


def test_a_map_depends_on_the_stages_up_to_its_own(encoder):
    assert stages_of(stage_parameters(encoder, 1)) == ["conv1"]
    assert stages_of(stage_parameters(encoder, 3)) == ["layer1", "layer2"]
    everything = {name for name, _ in encoder.named_parameters()}
    assert stage_parameters(encoder, 5) == everything


@pytest.mark.parametrize("stages", [0, 6])
def test_more_stages_than_there_are_maps_are_refused(encoder, stages):
    with pytest.raises(ConfigError, match=rf"encoder\.freeze: expected .* from 1 to 5, got {stages};"):
        stage_parameters(encoder, stages)


def test_modules_that_stand_still_are_the_largest_and_those_without_parameters_before_the_first_that_learns():
    model = nn.Sequential(
        nn.Sequential(nn.Linear(2, 2), nn.Dropout()), nn.Dropout(), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    )
    frozen = {"0.0.weight", "0.0.bias", "2.0.weight", "2.0.bias"}
    assert list(frozen_modules(model, frozen)) == [model[0], model[1], model[2][0]]
    assert list(frozen_modules(model, {"2.1.weight", "2.1.bias"})) == [model[2][1]]
