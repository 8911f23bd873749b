"""Checking config nodes against the signature of the callable that they are passed to."""

import inspect
import math
import re
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean

TARGET = "_target_"
MISSING = "???"  # OmegaConf's mark for a value that the user has to give
OPTIONS = "options"
"""The name of ``**options`` in a constructor that passes them on to its base class."""
_BY_NAME = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
_RESERVED = frozenset({TARGET, "_partial_", "_convert_", "_recursive_", "_args_"})
_HINT = re.compile(r", did you mean '[^']*'\?$")  # the end of a problem within a value
_WORDS = {int: "an integer", float: "a number", str: "a text", bool: "true or false", type(None): "null"}


@dataclass(frozen=True)
class Range:
    """Bounds of a number, for ``Annotated[float, Range(low=0)]``; ``above`` excludes its bound."""

    low: float | None = None
    high: float | None = None
    above: float | None = None

    def problem(self, value: float) -> str | None:
        """Describe the bound that a value violates; None if it is within all."""
        if self.low is not None and not value >= self.low:  # not <, which NaN would pass
            return f"expected at least {self.low}"
        if self.above is not None and not value > self.above:
            return f"expected more than {self.above}"
        if self.high is not None and not value <= self.high:
            return f"expected at most {self.high}"
        if not math.isfinite(value):
            return "expected a finite number"
        return None


@dataclass(frozen=True)
class Pattern:
    """The form of a text, a regular expression, and what to call it, for ``Annotated[str, Pattern(...)]``."""

    form: str
    name: str

    def problem(self, value: str) -> str | None:
        """Say what was expected of a text that has another form; None if it has this one."""
        return None if re.fullmatch(self.form, value) else f"expected {self.name}"


def locate(target: str, path: str) -> Callable[..., Any]:
    """Import the callable that ``_target_`` names; raises `ConfigError` with the nearest name if it is missing."""
    module_name, _, name = target.rpartition(".")
    try:
        module = import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{path}.{TARGET}: cannot import {target!r} ({error}), expected the dotted path of a class or function; "
            "correct it, or install its package"
        ) from None
    if not callable(getattr(module, name, None)):
        known = (key for key in dir(module) if callable(getattr(module, key)) and not key.startswith("_"))
        hint = did_you_mean(name, known, listed=0) or f", expected one of its own; correct {path}.{TARGET}"
        raise ConfigError(f"{path}.{TARGET}: {module_name} has no class or function {name!r}{hint}")
    found: Callable[..., Any] = getattr(module, name)
    return found


def check_leaf(node: Mapping[str, Any], path: str, *, provided: Collection[str] = ()) -> list[str]:
    """Check a node with a ``_target_`` against its signature; ``provided`` are arguments that code passes."""
    if TARGET not in node:
        return [f"{path}: has no {TARGET}, expected the dotted path of a class or function; add {path}.{TARGET}=..."]
    try:
        target = locate(str(node[TARGET]), path)
    except ConfigError as error:
        return [str(error)]
    return check_call(node, target, path, provided=provided)


def check_call(
    node: Mapping[str, Any], target: Callable[..., Any], path: str, *, provided: Collection[str] = ()
) -> list[str]:
    """List what is wrong with a call ``target(**node)``: unknown, wrong and missing keys."""
    parameters = parameters_of(target)
    hints = annotations_of(target)
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    tunable = [name for name in parameters if name not in provided]
    problems = []
    for key, value in node.items():
        where = f"{path}.{key}" if path else str(key)
        if key in _RESERVED:
            continue
        if key not in tunable:
            problems += [] if open_ended else [f"{where}: unknown key{did_you_mean(str(key), tunable)}"]
        elif value == MISSING:
            problems.append(f"{where}: missing; {_remedy(target, key, node) or f'add {where}=...'}")
        else:
            problems += check_value(value, hints.get(key, Any), where, provided=provided)
    for name in tunable:
        parameter = parameters[name]
        variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if name not in node and parameter.default is parameter.empty and not variadic:
            problems.append(f"{path}.{name}: missing; add {path}.{name}=...")
    return problems


def _remedy(target: Callable[..., Any], key: str, node: Mapping[str, Any]) -> str | None:
    """Return what a class says of a key that is left open, if it has anything to say: `remedy_for_missing`."""
    ask = getattr(target, "remedy_for_missing", None)
    return ask(key, node) if ask else None


def require_call(
    node: Mapping[str, Any], target: Callable[..., Any], path: str, *, provided: Collection[str] = ()
) -> None:
    """Raise `ConfigError` with a line for each problem that `check_call` finds."""
    problems = check_call(node, target, path, provided=provided)
    if problems:
        raise ConfigError("\n".join(problems))


def parameters_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a callable, by name.

    A constructor with ``**options`` passes them on to that of its base class, whose keywords are its
    own: so an option that several classes share exists once.
    """
    found: dict[str, inspect.Parameter] = {}
    for function in _constructors(target):
        own = inspect.signature(function).parameters
        inherits = found.pop(OPTIONS, None) is not None
        # the base class' positional parameters are what the derived class gives it
        taken = {name: one for name, one in own.items() if not inherits or one.kind in _BY_NAME}
        found = {**taken, **found}
    return found


def _constructors(target: Callable[..., Any]) -> list[Callable[..., Any]]:
    """List a callable, or the class and the base classes whose constructors pass ``**options`` on."""
    if not inspect.isclass(target):
        return [target]
    found: list[Callable[..., Any]] = [target]
    bases = [base for base in target.__mro__ if "__init__" in vars(base)]
    while OPTIONS in inspect.signature(found[-1]).parameters and len(found) < len(bases):
        found.append(bases[len(found)])
    return found


def annotations_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a callable's parameters; empty where they cannot be resolved."""
    found: dict[str, Any] = {}
    for function in _constructors(target):
        called = function.__init__ if inspect.isclass(function) else function
        try:
            found = {**get_type_hints(called, include_extras=True), **found}
        except (NameError, TypeError):  # names that are imported under TYPE_CHECKING
            continue
    return found


def check_value(value: Any, annotation: Any, path: str, *, provided: Collection[str] = ()) -> list[str]:
    """List what is wrong with one value against its annotation, and with nodes inside it."""
    if isinstance(value, Mapping) and TARGET in value:
        return check_leaf(value, path, provided=provided)
    # nodes inside before the value as a whole: their problems are the more precise
    if isinstance(value, Mapping | list) and (inner := _nested(value, path, provided)):
        return inner
    problem = mismatch(with_texts(value, annotation), annotation)
    return [f"{path}: {problem}"] if problem else []


def with_texts(value: Any, annotation: Any) -> Any:
    """Convert numbers to strings where an annotation takes strings alone: a class may be called 2024."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return with_texts(value, arguments[0])
    if origin in (Union, types.UnionType):
        members = [member for member in arguments if member is not type(None)]
        return with_texts(value, members[0]) if len(members) == 1 else value
    if annotation in (str, Path):
        return str(value) if _is_a(value, float) else value
    if _is_container(annotation) and not issubclass(origin, Mapping) and isinstance(value, list):
        return [with_texts(item, arguments[0]) for item in value] if arguments else value
    return value


def _nested(value: Any, path: str, provided: Collection[str]) -> list[str]:
    """List the problems of all nodes with a ``_target_`` in a value, at any depth."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    if isinstance(value, Mapping) and TARGET in value:
        return check_leaf(value, path, provided=provided)
    children = [(f"{path}.{key}", child) for key, child in items if isinstance(child, Mapping | list)]
    return [problem for where, child in children for problem in _nested(child, where, provided)]


def mismatch(value: Any, annotation: Any) -> str | None:
    """Describe why a plain value does not fit an annotation; None if it does."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return mismatch(value, arguments[0]) or _out_of_bounds(value, arguments[1:])
    if origin in (Union, types.UnionType):
        return _no_member(value, arguments)
    if origin is Literal:
        return None if value in arguments else _not_a_choice(value, [str(choice) for choice in arguments])
    if origin is not None and isinstance(origin, type):
        return _container_mismatch(value, origin, arguments)
    if annotation is Path:
        return mismatch(value, str)
    if annotation is None or annotation in _WORDS:
        return None if _is_a(value, annotation) else f"expected {_WORDS[annotation]}, got {_shown(value)}"
    if annotation in (Any, object) or not inspect.isclass(annotation):
        return None
    is_node = isinstance(value, Mapping) and TARGET in value  # nothing else becomes an object of a class
    return None if is_node else f"expected a mapping with {TARGET}, got {_shown(value)}"


def _shown(value: Any) -> str:
    """Write a value as in YAML."""
    words: dict[Any, str] = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else repr(value)


def _is_a(value: Any, plain: type) -> bool:
    # bool is a subclass of int, but true is no number here; an int is fine as a float
    if plain is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if plain is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, plain)


def _out_of_bounds(value: Any, extras: Sequence[Any]) -> str | None:
    for extra in extras:
        fits = isinstance(value, int | float) if isinstance(extra, Range) else isinstance(value, str)
        if isinstance(extra, Range | Pattern) and fits and (problem := extra.problem(value)):
            return f"{problem}, got {_shown(value)}"
    return None


def _no_member(value: Any, members: Sequence[Any]) -> str | None:
    """Describe why a value fits no member of a union; None if it fits one."""
    problems = [mismatch(value, member) for member in members]
    if None in problems:
        return None
    if isinstance(value, list):  # a list is meant for the members that are lists: say what is wrong with it
        problems = [p for p, m in zip(problems, members, strict=True) if _is_container(m)] or problems
    choices = [str(c) for member in members if get_origin(member) is Literal for c in get_args(member)]
    if isinstance(value, str) and ":" in value and any(_is_container(member) for member in members):
        return f"expected a mapping, got {value!r} without its braces, which the shell takes; put the word in 'quotes'"
    if choices and isinstance(value, str) and str not in members:
        return _not_a_choice(value, choices)
    expected = [problem.split(", got ")[0].removeprefix("expected ") for problem in problems if problem]
    hint = next((found[0] for problem in problems if problem and (found := _HINT.search(problem))), "")
    return f"expected {' or '.join(dict.fromkeys(expected))}, got {_shown(value)}{hint}"


def _is_container(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return inspect.isclass(origin) and issubclass(origin, Mapping | Sequence | AbstractSet)


def _not_a_choice(value: Any, choices: list[str]) -> str:
    return f"expected one of {', '.join(choices)}, got {_shown(value)}{did_you_mean(str(value), choices, listed=0)}"


def _container_mismatch(value: Any, origin: type, arguments: Sequence[Any]) -> str | None:
    """Describe why a value does not fit ``dict[K, V]``, ``list[T]``, ``tuple[A, B]`` and the like."""
    if issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            return f"expected a mapping such as {{a: 1}}, got {_shown(value)}"
        pairs = zip(arguments, ("key", "value"), strict=False)
        found = [(mismatch(item, kind), word) for kind, word in pairs for item in getattr(value, f"{word}s")()]
        return next(
            (problem.replace(", got ", f" for each {word}, got ", 1) for problem, word in found if problem), None
        )
    if not issubclass(origin, Sequence | AbstractSet):
        return None
    if not isinstance(value, list | tuple):
        quoted = isinstance(value, str) and value.startswith("[")
        hint = " in quotes of its own; leave the inner quotes out" if quoted else ""
        return f"expected a list such as [a,b], got {_shown(value)}{hint}"
    fixed = origin is tuple and Ellipsis not in arguments  # tuple[int, int], not tuple[int, ...]
    if fixed and len(value) != len(arguments):
        return f"expected a list of {len(arguments)}, got {value!r}"
    kinds = arguments if fixed else [next(iter(arguments), Any)] * len(value)
    return next((p for p in map(mismatch, value, kinds) if p), None)
