"""The configuration of a run: typed, checked, and the only door to OmegaConf and pydantic.

A recipe is a YAML file; `key.subkey=value` words on the command line change it. The dataclasses below and the
options of the METHODS and SOURCES tables are the schema: they hold every default, so a recipe names only
what it means to fix. Nothing here imports torch, so a mistake is answered at once.
"""

import dataclasses
import difflib
import json
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError

from engine.exits import UserError
from engine.schema import Config

DOMAINS = ("content", "style")


class ConfigError(UserError):
    """A wrong key or value; names the file (or the command line), the key, and what is allowed."""


def load_config(path: str | Path, overrides: Sequence[str], methods: Mapping, sources: Mapping) -> Config:
    """Read a recipe, apply `key=value` overrides and check the whole.

    Args:
        path: the YAML file.
        overrides: words of the command line, for example "train.batch_size=4".
        methods, sources: the METHODS and SOURCES tables; each entry's `options` is a dataclass.

    Raises:
        ConfigError: in one line, for the first mistake found.
    """
    values = _read_yaml(Path(path))
    tags = _tagged_sections(methods, sources)
    changes = _read_overrides(overrides, _text_keys(Config, tags))
    for key, (tag, _) in tags.items():
        _forget_options_of_another_choice(values, changes, key, tag)
    _spread_root(values, changes, methods, sources)
    try:
        merged = OmegaConf.merge(OmegaConf.create(values), OmegaConf.create(changes))
        merged = OmegaConf.to_container(merged, resolve=True, throw_on_missing=True)
    except (OmegaConfBaseException, TypeError) as error:
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}") from error
    reader = _Reader(str(path), _flat_keys(changes), tags)
    config = reader.section(Config, merged, "")
    _check_together(config, reader)
    return config


def config_from_dict(values: dict, origin: str, methods: Mapping, sources: Mapping) -> Config:
    """The inverse of `to_dict`; `origin` (a file's name) stands in the message of a ConfigError."""
    return _Reader(origin, set(), _tagged_sections(methods, sources)).section(Config, values, "")


def options_from_words(schema: type, words: Sequence[str], given: Mapping[str, Any]) -> Any:
    """`key=value` words, and `given` values, as one of the options' dataclasses; raises ConfigError."""
    changes = {**_read_overrides(words, _text_keys(schema, {})), **given}
    return _Reader("command line", _flat_keys(changes), {}).section(schema, changes, "")


def to_dict(config: Config) -> dict:
    """Plain dicts, lists and scalars."""
    return dataclasses.asdict(config)


def to_yaml(config: Config) -> str:
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def differences(before: dict, after: dict) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with (before, after); a key that is missing counts as None."""
    left, right = _flatten(before), _flatten(after)
    keys = list(dict.fromkeys([*left, *right]))
    return {key: (left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)}


def _tagged_sections(methods: Mapping, sources: Mapping) -> dict[str, tuple[str, Mapping]]:
    """The sections whose schema one of their own keys chooses: the key, and the table that it looks into."""
    return {
        "method": ("name", methods),
        "data.content": ("source", sources),
        "data.style": ("source", sources),
    }


def _check_together(config: Config, reader: "_Reader") -> None:
    """What one value alone cannot show."""
    if not config.run:
        raise reader.error("run", "is missing: the folder of this run, for example run=runs/first")
    if config.schedule.constant + config.schedule.decay < 1:
        raise reader.error("schedule.constant", "= 0 with schedule.decay = 0: nothing would be trained")
    if config.schedule.warmup > config.schedule.constant:
        allowed = f"must be at most schedule.constant = {config.schedule.constant}, which it is a part of"
        raise reader.error("schedule.warmup", f"= {config.schedule.warmup}: {allowed}")
    if config.data.load_size < config.data.size:
        allowed = f"must be at least data.size = {config.data.size}"
        raise reader.error("data.load_size", f"= {config.data.load_size}: {allowed}")


def _read_yaml(path: Path) -> dict:
    if not path.is_file():
        known = sorted(str(p) for p in Path("configs").glob("*.yaml"))
        raise ConfigError(f"{path}: no such recipe{_did_you_mean(str(path), known)}")
    try:
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        where = f", line {error.problem_mark.line + 1}" if getattr(error, "problem_mark", None) else ""
        raise ConfigError(f"{path}{where}: not a YAML file: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a recipe is made of `key: value` lines")
    return values


def _read_overrides(words: Sequence[str], text_keys: set[str]) -> dict:
    """Values are YAML, but a text is what is written: `run=007`, `data.content.root=art #1`."""
    read = []
    for word in words:
        key, equals, value = word.partition("=")
        if key.startswith("-"):
            raise ConfigError(f"command line: {word}: a setting is written without dashes: {word.lstrip('-')}")
        if not equals or not key or value == "???":  # OmegaConf's word for a missing value
            raise ConfigError(f"command line: {word}: a setting is written key=value, for example seed=1")
        if not word.isprintable():
            shown = word.encode("unicode_escape", "backslashreplace").decode()
            raise ConfigError(
                f"command line: {shown}: has bytes that a YAML file cannot hold; use a link of another name"
            )
        read.append(f"{key}={json.dumps(value)}" if key in text_keys else word)
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist(read), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"command line: {' '.join(str(error).split())[:160]}") from error


def _text_keys(schema: type, tags: Mapping[str, tuple[str, Mapping]], prefix: str = "") -> set[str]:
    """Dotted keys whose values are any text, whichever choices are made."""
    found: set[str] = set()
    for name, hint in get_type_hints(schema, include_extras=True).items():
        key = _join(prefix, name)
        if hint is str:
            found.add(key)
        for nested in [e.options for e in tags[key][1].values()] if key in tags else [hint]:
            if dataclasses.is_dataclass(nested):
                found |= _text_keys(nested, tags, key)
    return found


def _forget_options_of_another_choice(values: dict, changes: dict, key: str, tag: str) -> None:
    """With data.style.source=folder on the command line, the recipe's options of another source are void."""
    *parents, last = key.split(".")
    for parent in parents:
        values, changes = (d.get(parent) if isinstance(d, dict) else None for d in (values, changes))
    old, new = (d.get(last) if isinstance(d, dict) else None for d in (values, changes))
    if isinstance(old, dict) and isinstance(new, dict) and new.get(tag, old.get(tag)) != old.get(tag):
        values[last] = {}


def _spread_root(values: dict, changes: dict, methods: Mapping, sources: Mapping) -> None:
    """data.root is the root of each domain that names none; on the command line it comes before the recipe's roots."""
    for given in (values, changes):
        data = given.get("data")
        root = data.get("root") if isinstance(data, dict) else None
        for domain in _domains(values, changes, methods) if root else ():
            options = _source_options(values, changes, domain, sources)
            if "root" not in _names(options):
                raise ConfigError(f"data.root = {root}: data.{domain}.source = {options.source} has no root")
            section = data.setdefault(domain, {})
            if isinstance(section, dict):
                section.setdefault("root", root)


def _domains(values: dict, changes: dict, methods: Mapping) -> tuple[str, ...]:
    """Those that the chosen method learns from; both while none is chosen or the choice is wrong."""
    sections = (given.get("method") for given in (changes, values))
    names = [section["name"] for section in sections if isinstance(section, dict) and "name" in section]
    return methods[names[0]].domains if names and names[0] in methods else DOMAINS


def _source_options(values: dict, changes: dict, domain: str, sources: Mapping) -> type:
    """The options' schema of a domain's source; that of a folder while none is chosen or the choice is wrong."""
    for given in (changes, values):
        data = given.get("data")
        section = data.get(domain) if isinstance(data, dict) else None
        source = section.get("source") if isinstance(section, dict) else None
        if isinstance(source, str) and source in sources:
            return sources[source].options
    return sources["folder"].options


def renamed(values: dict, schema: type) -> dict:
    """What runs of earlier versions say, in the words of this one."""
    names, meanings = getattr(schema, "FORMER_NAMES", {}), getattr(schema, "FORMER_VALUES", {})
    now = {}
    for key, value in values.items():
        switch = key in meanings and isinstance(value, bool)
        now[names.get(key, key)] = meanings[key][value] if switch else value
    return now


class _Reader:
    """Builds the dataclasses from plain values; the first mistake raises."""

    def __init__(self, path: str, overridden: set[str], tags: dict[str, tuple[str, Mapping]]):
        self.path = path
        self.overridden = overridden
        self.tags = tags
        self.unused: dict[str, str] = {}  # sections that the chosen method does without, and its name

    def section(self, schema: type, values: Any, prefix: str, default: Any = None) -> Any:
        """Args: default: the section where nothing is said, if the one around it has its own idea of that."""
        if not isinstance(values, dict):
            raise self.error(prefix, f"is a section with the keys {', '.join(_names(schema))}")
        values = renamed(values, schema)
        for key in values:
            if key not in _names(schema):
                raise self.error(_join(prefix, key), self.unknown(str(key), schema, prefix))
        hints = get_type_hints(schema, include_extras=True)
        given = {}
        for name in _names(schema):
            key = _join(prefix, name)
            if key in self.unused:
                if values.get(name) is not None:
                    raise self.error(key, f"is of no use: {self.unused[key]} learns from the other domain alone")
            elif key in self.tags:
                given[name] = self.tagged(values.get(name), key)
            elif dataclasses.is_dataclass(hints[name]):
                own = _made_by_default(schema, name) if default is None else getattr(default, name)
                given[name] = self.section(hints[name], values.get(name, {}), key, own)
            elif name in values:
                given[name] = self.value(hints[name], values[name], key)
        return schema(**given) if default is None else dataclasses.replace(default, **given)

    def unknown(self, key: str, schema: type, prefix: str) -> str:
        known = _names(schema)
        near = _did_you_mean(_join(prefix, key), [_join(prefix, name) for name in known], cutoff=0.8)
        return f"is no key{near or _did_you_mean(key, known)}; known: {', '.join(known)}"

    def tagged(self, values: Any, key: str) -> Any:
        tag, table = self.tags[key]
        allowed = ", ".join(table)
        if not isinstance(values, dict) or tag not in values:
            raise self.error(_join(key, tag), f"is missing; one of: {allowed}")
        if str(values[tag]) not in table:
            near = _did_you_mean(str(values[tag]), table)
            raise self.error(_join(key, tag), f"= {values[tag]}: not one of: {allowed}{near}")
        if key == "method":  # which comes before the data
            domains = table[values[tag]].domains
            self.unused = {f"data.{each}": values[tag] for each in DOMAINS if each not in domains}
        return self.section(table[values[tag]].options, values, key)

    def value(self, hint: Any, value: Any, key: str) -> Any:
        if isinstance(value, bool) and hint is not bool:
            value = str(value).lower()  # else `true` would pass for 1
        try:
            settings = ConfigDict(coerce_numbers_to_str=True, allow_inf_nan=False)
            return TypeAdapter(hint, config=settings).validate_python(value)
        except ValidationError as error:
            allowed = error.errors()[0]["msg"].removeprefix("Input should be ")
            choices = [str(choice) for choice in _choices(hint)]
            near = _did_you_mean(str(value), choices)
            shown = "nothing" if value is None else value
            raise self.error(key, f"= {shown}: must be {allowed}{near}") from None

    def error(self, key: str, problem: str) -> ConfigError:
        return ConfigError(f"{'command line' if key in self.overridden else self.path}: {key} {problem}")


def _made_by_default(schema: type, name: str) -> Any:
    """The section `name` of this schema where nothing is said of it; None where something must be."""
    factories = {f.name: f.default_factory for f in dataclasses.fields(schema)}
    return None if factories[name] is dataclasses.MISSING else factories[name]()


def _names(schema: type) -> list[str]:
    return [f.name for f in dataclasses.fields(schema)]


def _choices(hint: Any) -> tuple:
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) in (Annotated, types.UnionType):
        return tuple(choice for part in get_args(hint) for choice in _choices(part))
    return ()


def _join(prefix: str, key: Any) -> str:
    return f"{prefix}.{key}" if prefix else str(key)


def _flatten(values: Mapping, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        flat |= _flatten(value, _join(prefix, key)) if nested else {_join(prefix, key): value}
    return flat


def _flat_keys(values: Mapping) -> set[str]:
    """Every dotted key and every section on the way to it."""
    leaves = _flatten(values)
    return {".".join(key.split(".")[: i + 1]) for key in leaves for i in range(key.count(".") + 1)}


def _did_you_mean(word: str, known: Any, cutoff: float = 0.5) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]}?" if near else ""
