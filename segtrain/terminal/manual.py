"""Help pages, for ``--help``; keys and groups are read from the YAML files."""

import textwrap
from pathlib import Path

from segtrain.config.groups import GROUPS, Groups, config_root
from segtrain.terminal.arguments import EXAMPLES, MANY, OWN_KEYS

_OVERVIEW = """\
segtrain: config-driven training of image segmentation models

usage: segtrain [command] [key=value ...] [flags]

commands (`segtrain <command> --help` shows its keys)
  train    train a model; the default, and what the groups below are for
  resume   go on with a run:     segtrain resume outputs/<name>/<time> [key=value ...]
  eval     score a checkpoint:   segtrain eval outputs/<name>/<time> data.split=test
  launch   train on several GPUs:  segtrain launch nproc=4 arch=fpn data=oxford_pets
  replay   a step that was not finite, made again:  segtrain replay outputs/<name>/<time> step=120
  predict  masks for images:     segtrain predict outputs/<name>/<time> photos masks
  export   for other programs:   segtrain export outputs/<name>/<time> format=onnx
  bench    costs and speed here:  segtrain bench arch=fpn encoder=resnet34 'sizes=[256,512]'
  score    masks of any tool:    segtrain score masks true_masks 'classes=[background,cat,dog]'
  preview  what training sees:   segtrain preview data=folder data.root=my_photos augment=heavy
  compare  two runs, and how sure it is:  segtrain compare outputs/<name>/<time> outputs/<name>/<time>
  report   a page on a run, its mistakes in pictures:  segtrain report outputs/<name>/<time>
  demo     a page to drop images on:  segtrain demo outputs/<name>/<time>
  diff     what differs in two runs:  segtrain diff outputs/<name>/<time> outputs/<name>/<time>
  reproduce  train a run again:  segtrain reproduce outputs/<name>/<time>
  verify-resume  prove that a killed training goes on exactly:  segtrain verify-resume arch=fpn
  plan     memory and speed on many GPUs:  segtrain plan gpus=64 arch=upernet encoder=resnet50
  check    what is wrong with data:  segtrain check data=folder data.root=my_photos 'data.classes=[cat,dog]'
  shard    data as tar files:    segtrain shard data=folder data.root=my_photos 'data.classes=[cat,dog]' output=shards
  tune     settings that are quick here:  segtrain tune arch=fpn data=oxford_pets
  search   the best values of some keys:  segtrain search 'space={optimizer.lr: 1e-4..1e-2 log}' arch=fpn
  runs     all runs, ranked:     segtrain runs outputs sort=val/iou 'where=val/iou>0.8'
  average  weights of several:  segtrain average outputs/<name>/<time> output=avg.pt
  lr_find  a learning rate:     segtrain lr_find data=folder data.root=my_photos optimizer=adamw
  import   a model of segmentation_models_pytorch:   segtrain import saved_folder model.pt
  zoo      the encoders and architectures there are: segtrain zoo effic; one model: segtrain zoo unet resnet34
  help     pages on topics: segtrain help, segtrain help data; segtrain help eval is that of the command

examples
  segtrain                                                       train the offline default
  segtrain arch=fpn encoder=efficientnet-b4 data=oxford_pets     choose from the groups
  segtrain data=folder data.root=my_photos 'data.classes=[background,cat,dog]'
  segtrain -m arch=unet,fpn loss=dice,bce_dice                   run every combination
  segtrain resume outputs/<name>/<time> trainer.epochs=20        go on with a run, for longer

flags
  -m, --multirun      run every combination of comma-separated values; sweep.dry_run=true lists them with times
  -c, --cfg job       print the composed config and stop
  -cd, --config-dir   a folder with your own YAML groups, looked at after the built-in ones
  -h, --help          this page
  --version

groups (group=choice; group.key=value changes one key of it)
"""
_ZOO = """\
usage: segtrain zoo [pattern] [filter=value ...]          what there is
       segtrain zoo <arch> <encoder> [key=value ...]      one model in detail

A pattern is a part of a name, or such as 'convnext*'. Filters:
  arch=deeplabv3           encoders that this architecture can use
  pretrained=true|false    with or without weights to download
  licence=apache-2.0       of the weights, as timm states it
  max_params=30M           parameters of the encoder
  max_macs=5G              multiply-accumulates of the encoder for an image of 256x256
  sort=name|params|macs
"""
_RESUME = """\
usage: segtrain resume RUN [key=value ...]

Goes on with a run from its newest checkpoint, in its own folder; resume=RUN among other words means the same.

RUN                  a run folder, outputs/<name>/<time>, or a checkpoint in one
key=value            changes the run's own config from then on, such as trainer.epochs=20
hydra.run.dir=...    another folder to write to
"""
_HELP = """\
usage: segtrain help              the topics
       segtrain help <topic>      a page on it
       segtrain help <command>    the same as segtrain <command> --help
"""
_ENCODER_NOTE = "..., or any encoder that `segtrain zoo` lists"


def page(command: str | None, groups: Groups) -> str:
    """Return the help page of a command, or the overview without one."""
    if command is None:
        return _overview(groups)
    written = {"zoo": _ZOO, "resume": _RESUME, "help": _HELP}
    if command in written:
        return written[command]
    return f"usage: {_usage(command)}\n\n{_primary(config_root() / f'{command}.yaml')}"


def _usage(command: str) -> str:
    """Write the usage of a command, with positional words and with their keys."""
    keys = OWN_KEYS.get(command, ())
    if not keys:
        return f"segtrain {command} [key=value ...]"
    places = " ".join(key.upper() for key in keys)
    by_keys = " ".join(f"{key}={key.upper()}" for key in keys)
    if command in MANY:
        return f"segtrain {command} {places} [{places} ...] [key=value ...]\n\nexample: {EXAMPLES[command]}"
    return (
        f"segtrain {command} {places} [key=value ...]\n"
        f"       segtrain {command} {by_keys} [key=value ...]\n\n"
        f"example: {EXAMPLES[command]}"
    )


def _overview(groups: Groups) -> str:
    lines = []
    for group in GROUPS:
        names = groups.choices(group)
        text = ", ".join(names) + (f", {_ENCODER_NOTE}" if group == "encoder" else "")
        first, *rest = textwrap.wrap(text, 92) or [""]
        lines += [f"  {group:<11} {first}", *(f"{'':<14}{line}" for line in rest)]
    return _OVERVIEW + "\n".join(lines) + "\n"


def _primary(file: Path) -> str:
    """Return the text of a primary config, comments included, without Hydra's own keys."""
    text = file.read_text(encoding="utf-8")
    return text.partition("\nhydra:")[0].rstrip() + "\n"
