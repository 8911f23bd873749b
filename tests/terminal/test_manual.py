"""Help pages are made of what there is: the groups, and the files of the commands."""

import pytest

from segtrain.config.groups import GROUPS, Groups
from segtrain.terminal.arguments import EXAMPLES, OWN_KEYS
from segtrain.terminal.manual import page


def test_the_overview_lists_every_choice_of_every_group():
    groups = Groups.find()
    listed = page(None, groups).partition("groups (group=choice")[2]
    for group in GROUPS:
        assert f"\n  {group} " in listed
        words = listed.replace(",", " ").split()
        assert set(groups.choices(group)) <= set(words)


def test_choices_of_the_users_own_folder_are_listed_too(tmp_path):
    (tmp_path / "arch").mkdir()
    (tmp_path / "arch" / "mine.yaml").write_text("# Mine.\n_target_: mine.Decoder\n")
    assert "mine" in page(None, Groups.find(tmp_path))
    assert "mine" not in page(None, Groups.find()).split()


@pytest.mark.parametrize("command", sorted(OWN_KEYS.keys() - {"resume"}))
def test_a_command_shows_its_words_its_example_and_its_keys(command):
    shown = page(command, Groups.find())
    assert shown.startswith(f"usage: segtrain {command} ")
    assert EXAMPLES[command] in shown
    for key in OWN_KEYS[command]:
        assert f" {key.upper()} " in shown
        assert f"\n{key}:" in shown
    assert "hydra:" not in shown


@pytest.mark.parametrize("command", ["zoo", "resume"])
def test_what_has_no_file_of_keys_has_a_page(command):
    assert page(command, Groups.find()).startswith(f"usage: segtrain {command} ")
