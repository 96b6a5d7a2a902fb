"""The configuration's sources, read into its sections.

Works on: text, environment variables and dotted keys. Knows nothing about what the settings do.
Later sources win: defaults, then the file, then the environment, then overrides (the command line).
"""

import difflib
import re
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from cluster.config.sections import Config
from cluster.errors import RequestError

DEFAULT_PATH = Path("ray_config.yaml")
ENVIRONMENT_PREFIX = "ISOFLEET_"
# A hand-written file has a few KiB; the bound keeps a mistyped path to an image from being parsed as YAML.
MAX_FILE_BYTES = 256 * 1024


# No setting needs them, and a run's record could not be written with half a surrogate pair.
_NOT_TEXT = re.compile("[\0-\x1f\x7f\ud800-\udfff]")
_MAX_QUOTED = 300  # characters of a stranger's file in a sentence
_REPR = reprlib.Repr()
_REPR.maxlevel = 2  # six levels of six, as is the default, make 400 kB of a small file with aliases


def load(path: Path | None, env: Mapping[str, str], overrides: Mapping[str, Any]) -> Config:
    """Read the configuration.

    `path` is a YAML file; None takes `./ray_config.yaml` if there is one. `env` is searched for names like
    `ISOFLEET_STORE__S3__REGION`, their values parsed as YAML. `overrides` has dotted keys
    (`store.s3.region`).

    Raises RequestError, one sentence naming the source, the dotted key and what is expected.
    """
    if path is None and DEFAULT_PATH.exists():
        path = DEFAULT_PATH
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    problems: list[str] = []
    found = [] if path is None else [(str(path), key, value) for key, value in _flatten(read(path), str(path))]
    found += list(_from_environment(env))
    found += [("command line", key, value) for key, value in overrides.items()]
    for source, key, value in found:
        if _slot(key) in _KEYS:
            values[key], sources[key] = value, source
            texts = [value] if isinstance(value, str) else list(value.values()) if isinstance(value, dict) else []
            if any(isinstance(text, str) and _NOT_TEXT.search(text) for text in texts):
                problems.append(f"{source}: {key} must be text without control characters or half characters")
        else:
            problems.append(f"{source}: {_unknown(key)}")
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, leaf = key.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[leaf] = value
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        # A union (text or a mapping) reports once for each of its members: keep one sentence a key.
        wrong = {_key(details["loc"]): details for details in error.errors(include_url=False)}
        for key, details in wrong.items():
            if details["type"] == "value_error":
                expected = str(details["ctx"]["error"])
            elif details["type"] == "missing":
                expected = f"is missing: it must be {in_words(_KEYS[_slot(key)])}"
            else:
                expected = f"must be {in_words(_KEYS[_slot(key)])}, not {_shown(values.get(key))}"
            # What is missing, or wrong as a whole, has no source of its own: its neighbours' is said.
            section = key.rpartition(".")[0] or key
            near = (source for known, source in sources.items() if known.startswith(f"{section}."))
            problems.append(f"{sources.get(key) or next(near, 'configuration')}: {_printable(key)} {expected}")
    if problems:
        others = len(problems) - 1
        more = f" (and {others} other problem{'s' * (others > 1)})" if others else ""
        raise RequestError(problems[0] + more)
    return config


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        kind = field.annotation
        named = get_args(kind)[1] if get_origin(kind) is dict else None  # what each name of a mapping stands for
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, f"{prefix}{name}.")
        elif isinstance(named, type) and issubclass(named, BaseModel):
            yield from _leaves(named, f"{prefix}{name}.{_ANY}.")
        else:
            yield prefix + name, schema["properties"][name]


_ANY = "*"  # stands in a key for the name of a schedule
_KEYS = dict(_leaves(Config))  # dotted key -> its JSON schema
_SECTIONS = {key[:end] for key in _KEYS for end, character in enumerate(key) if character == "."}
_MAPPINGS = {section.removesuffix(f".{_ANY}") for section in _SECTIONS if section.endswith(f".{_ANY}")}


def choices() -> dict[str, tuple[str, ...]]:
    """Every key that can be set by itself, and the values that it may have where these are few, in YAML."""
    return {key: tuple(_choices(schema)) for key, schema in _KEYS.items() if _ANY not in key and key not in _MAPPINGS}


def _choices(schema: Mapping[str, Any]) -> Iterator[str]:
    if "anyOf" in schema:
        for option in schema["anyOf"]:
            yield from _choices(option)
    elif schema.get("type") == "boolean":
        yield from ("true", "false")
    elif schema.get("type") == "null":
        yield "null"
    else:
        yield from schema.get("enum", ())


def _slot(key: str) -> str:
    """How _KEYS spells a key: `schedules.*.cron` for `schedules.nightly.cron`."""
    section, *below = key.split(".")
    return ".".join([section, _ANY, *below[1:]]) if section in _MAPPINGS and below else key


def in_words(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words: `a whole number between 8 and 1024`."""
    if "anyOf" in schema:
        return " or ".join(in_words(option) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    values = schema.get("additionalProperties")
    values = values["type"] if isinstance(values, dict) else ""  # of a mapping, where they are of one type
    kinds = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "null": "null",
        "string": "text (in quotes if it looks like a number)",
        "object": "a mapping" + {"string": " of text to text", "number": " of text to numbers"}.get(values, ""),
        "array": f"a list of {'whole numbers' if schema.get('items', {}).get('type') == 'integer' else 'texts'}",
    }
    low, high = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    bounds = ""
    if low is not None and high is not None:
        bounds = f" between {low:g} and {high:g}" if isinstance(low, float) else f" between {low} and {high}"
    elif low is not None:
        bounds = f" of at least {low}"
    elif above is not None:
        bounds = f" above {above:g}" + (f" and at most {high:g}" if high is not None else "")
    elif schema.get("minLength"):
        bounds = " that is not empty"
    return kinds[schema["type"]] + bounds


def _key(location: tuple[int | str, ...]) -> str:
    """The dotted key of a pydantic error's location, without the union members and mapping keys below it."""
    key = ""
    for part in location:
        key = f"{key}.{part}" if key else str(part)
        if _slot(key) in _KEYS:
            break
    return key


def _shown(value: Any) -> str:
    try:
        return _printable(_REPR.repr(value))
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number with thousands of digits"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_QUOTED])


def _unknown(key: str) -> str:
    key = _printable(key)
    if _slot(key) in _SECTIONS:
        return f"{key} must be a section with keys of its own, not a single value"
    mapping, _, rest = key.partition(".")
    named = f"{mapping}.{rest.partition('.')[0]}."  # the keys below a name that it has given
    keys = [known.replace(f"{mapping}.{_ANY}.", named) if rest else known for known in _KEYS]
    section, _, name = key.rpartition(".")
    start = f"{section}." if section else ""
    # dict, not set: in the order of the file
    names = list(dict.fromkeys(known.removeprefix(start).split(".")[0] for known in keys if known.startswith(start)))
    keys = [known for known in keys if _ANY not in known]
    moved = [known for known in keys if known.rpartition(".")[2] == name]  # the right key in the wrong section
    close = (
        sorted(moved, key=lambda known: not known.startswith(start))
        or [start + near for near in difflib.get_close_matches(name, names, n=1)]
        or difflib.get_close_matches(key, keys, n=1, cutoff=0.85)
    )
    if close:
        return f"{key} is not a known key; did you mean {close[0]}?"
    if names:
        return f"{key} is not a known key; {section or 'the file'} has {', '.join(names)}"
    sections = sorted(section for section in _SECTIONS if _ANY not in section)
    return f"{key} is not a known key; the sections are {', '.join(sections)}"


def _flatten(tree: Any, source: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested sections by dotted key. A section with nothing in it (null) has none."""
    if tree is None:
        return
    if not isinstance(tree, Mapping):
        name = prefix.rstrip(".") or "the file"
        raise RequestError(f"{source}: {name} must be a mapping of keys to values, not {_shown(tree)}")
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if _slot(key) in _SECTIONS:
            if value is None and _slot(key).endswith(f".{_ANY}"):
                raise RequestError(
                    f"{source}: {_printable(key)} has no settings; give it cron, catalog and output, or delete it"
                )
            yield from _flatten(value, source, key + ".")
        else:
            yield key, value


def _from_environment(env: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    """(variable, dotted key, value). A name without `__` has no section: it is somebody else's variable."""
    for variable, text in sorted(env.items()):
        path = variable.removeprefix(ENVIRONMENT_PREFIX)
        if path != variable and "__" in path:
            yield variable, path.lower().replace("__", "."), _parse(text, variable)


def read(path: Path) -> Any:
    """The content of a YAML file. Raises RequestError, naming file and line, for one that cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise RequestError(f"{path}: the configuration file cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise RequestError(f"{path}: a configuration file has at most {MAX_FILE_BYTES} bytes; is this the one?")
    try:
        return _parse(data.decode(), str(path))
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: a configuration file must be UTF-8 text") from error


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key may stand only once: plain PyYAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for name, _ in node.value:
            spelling = str(name.value)
            if spelling in seen:
                problem = f"the key {spelling} stands here twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=name.start_mark)
            seen.add(spelling)
        return super().construct_mapping(node, deep)


def _parse(text: str, source: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = _printable(error.problem or error.context or "")
        raise RequestError(f"{source}: {place}not valid YAML: {reason}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # ValueError: scalars that look like a date or number but are none, such as 2024-13-45.
        raise RequestError(f"{source}: not valid YAML: {_printable(str(error).splitlines()[0])}") from error
