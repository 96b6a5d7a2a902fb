"""The configuration as users meet it: files, the environment, the command line, and their slips."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from cluster.config import ActorSettings, Config, ScheduleSettings, load
from cluster.errors import RequestError

EXAMPLE = Path(__file__).resolve().parents[1] / "ray_config.yaml"


def leaves(model: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Every setting by its dotted key."""
    found: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else {prefix + name: value}
    return found


@pytest.fixture
def refuse(tmp_path):
    """The sentence that a file's text, an environment or overrides are refused with."""

    def message(text: str = "", env: dict[str, str] | None = None, **overrides: Any) -> str:
        path = tmp_path / "ray_config.yaml"
        path.write_text(text)
        with pytest.raises(RequestError) as caught:
            load(path, env or {}, {key.replace("__", "."): value for key, value in overrides.items()})
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(path), "ray_config.yaml")

    return message


# The example.


def test_the_example_is_complete_and_has_the_defaults():
    assert load(EXAMPLE, {}, {}) == Config()

    def keys(tree: dict[str, Any], prefix: str = "") -> set[str]:
        return {
            key
            for name, value in tree.items()
            for key in (keys(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {prefix + name})
        }

    assert keys(yaml.safe_load(EXAMPLE.read_text())) == set(leaves(Config()))


def test_the_example_of_a_schedule_is_complete(tmp_path):
    text = EXAMPLE.read_text().partition("\n# By name. For example:\n")[2].partition("\nschedules:")[0]
    path = tmp_path / "c.yaml"
    path.write_text("schedules:\n" + "".join(line.removeprefix("#") + "\n" for line in text.splitlines()))
    schedules = load(path, {}, {}).schedules
    assert schedules["nightly"].model_fields_set == set(ScheduleSettings.model_fields)
    assert schedules["nightly"].reconstruct.model_dump(exclude_unset=True) == {"resolution": 128}


def test_every_setting_is_described():
    def check(model: type[BaseModel]) -> None:
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                check(field.annotation)
            else:
                assert field.description, name

    check(Config)
    check(ScheduleSettings)


# Sources.


def test_later_sources_win(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("reconstruct: {resolution: 32, batch_size: 8, format: obj}\nstore:\n  s3: {region: eu-west-1}\n")
    env = {
        "ISOFLEET_RECONSTRUCT__RESOLUTION": "48",
        "ISOFLEET_RECONSTRUCT__FORMAT": "ply",
        "ISOFLEET_STORE__S3__REQUESTER_PAYS": "true",
        "ISOFLEET_STORE__S3__ENDPOINT_URL": "http://127.0.0.1:9000",
        "ISOFLEET_RECONSTRUCT__WEIGHTS": '{chair: /w/chair, "02691156": /w/plane}',
        "ISOFLEET_HOME": "/somebody/else's",
        "RESOLUTION": "1",
    }
    config = load(path, env, {"reconstruct.resolution": 64, "metrics.port": 9000})
    assert config.reconstruct.resolution == 64
    assert config.reconstruct.format == "ply"
    assert config.reconstruct.batch_size == 8
    assert config.reconstruct.weights == {"chair": "/w/chair", "02691156": "/w/plane"}
    assert config.store.s3.region == "eu-west-1"
    assert config.store.s3.requester_pays is True
    assert config.store.s3.endpoint_url == "http://127.0.0.1:9000"
    assert config.metrics.port == 9000
    assert config.images == Config().images


def test_without_a_path_the_file_beside_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(None, {}, {}) == Config()
    (tmp_path / "ray_config.yaml").write_text("images: {max_bytes: 5}\n")
    assert load(None, {}, {}).images.max_bytes == 5
    (tmp_path / "ray_config.yaml").write_text("images: {max_bytes: none}\n")
    with pytest.raises(RequestError, match=r"^ray_config\.yaml: images\.max_bytes must be a whole number"):
        load(None, {}, {})


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "images:\n", "store:\n  s3:\n"])
def test_sections_may_be_empty(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert load(path, {}, {}) == Config()


def test_whole_numbers_are_numbers(tmp_path):
    assert load(None, {}, {"reconstruct.item_timeout_seconds": 5}).reconstruct.item_timeout_seconds == 5.0


def test_a_configuration_travels_and_does_not_change():
    config = load(EXAMPLE, {}, {"reconstruct.weights": {"a": "b"}})
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(ValidationError):
        config.reconstruct.resolution = 8  # type: ignore[misc]


@settings(deadline=None)
@given(st.data())
def test_what_is_set_is_what_is_got(data):
    """Any setting, written as YAML into the environment, arrives with its value and type; the others stay."""
    known = leaves(Config())
    key = data.draw(st.sampled_from(sorted(known.keys() - {"schedules"})))  # which has no keys of its own
    value = data.draw(st.sampled_from([known[key], None, True, False, 0, 1, 4, 64, 0.5, "local", "glb", "AES256"]))
    variable = "ISOFLEET_" + key.upper().replace(".", "__")
    try:
        config = load(None, {variable: yaml.safe_dump(value)}, {})
    except RequestError as error:
        refusal = str(error)
    else:
        got = leaves(config)
        assert got == known | {key: value}
        assert isinstance(got[key], bool) == isinstance(value, bool)
        return
    assert (type(value), value) != (type(known[key]), known[key])
    # Both of a pair of settings can be at fault when one is set: the source may be said of the other.
    assert refusal.startswith(f"{variable}: {key} ") or ": actors.max_consecutive_deaths must be greater" in refusal


# Slips.


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "reconstruct: {resolutoin: 64}",
            "reconstruct.resolutoin is not a known key; did you mean reconstruct.resolution?",
        ),
        ("resolution: 64", "resolution is not a known key; did you mean reconstruct.resolution?"),
        ("reconstructs: {resolution: 64}", "reconstructs is not a known key; did you mean reconstruct?"),
        ("images: {colour: red}", "images.colour is not a known key; images has max_bytes, max_pixels"),
        ("colour: red", "colour is not a known key; the file has ray, store, images,"),
        ("reconstruct: {resolution: 7}", "reconstruct.resolution must be a whole number between 8 and 1024, not 7"),
        ("reconstruct: {resolution: '64'}", "must be a whole number between 8 and 1024, not '64'"),
        ("reconstruct: {resolution: 64.5}", "reconstruct.resolution must be a whole number"),
        ("reconstruct: {exact: 1}", "reconstruct.exact must be true or false, not 1"),
        ("reconstruct: {format: gltf}", "reconstruct.format must be one of glb, obj, ply, stl, not 'gltf'"),
        ("reconstruct: {category: 03001627}", "category must be text (in quotes if it looks like a number)"),
        ("reconstruct: {weights: {03001627: /w}}", "reconstruct.weights must be text"),
        ("reconstruct: {max_failed_percent: 101}", "must be a number between 0 and 100 or null, not 101"),
        ("reconstruct: {item_timeout_seconds: .inf}", "must be a number above 0, not inf"),
        ("ray: {address: ''}", "ray.address must be text"),
        ("reconstruct: 5", "reconstruct must be a mapping of keys to values, not 5"),
        ("store: {s3: [1]}", "store.s3 must be a mapping of keys to values, not [1]"),
        ("store: {s3: {sse_kms_key_id: k}}", "needs store.s3.server_side_encryption to be aws:kms"),
        ("actors: {gpus_per_reconstructor: 1.5}", "must be a whole number or less than 1"),
        (
            "actors: {max_deaths_per_item: 5, max_consecutive_deaths: 5}",
            "actors.max_consecutive_deaths must be greater than actors.max_deaths_per_item (5), not 5, so that an item",
        ),
        ("schedules: {nightly: {cron: 5}}", "schedules.nightly.cron must be text"),
        ("schedules: {nightly: {cron: '* * * * *', output: o}}", "nightly.catalog is missing: it must be text"),
        ("schedules: {nightly: }", "schedules.nightly has no settings; give it cron, catalog and output"),
        ("schedules: {nightly: 5}", "schedules.nightly must be a mapping of keys to values, not 5"),
        ("schedules: {nightly: {corn: a}}", "nightly.corn is not a known key; did you mean schedules.nightly.cron?"),
        ("schedules: {nightly: {resolution: 9}}", "did you mean schedules.nightly.reconstruct.resolution?"),
        (
            "schedules: {nightly: {cron: a, catalog: b, output: c, reconstruct: {resolution: 7}}}",
            "schedules.nightly.reconstruct.resolution must be a whole number between 8 and 1024, not 7",
        ),
        ("schedules: {Nightly!: {cron: a, catalog: b, output: c}}", "schedules has 'Nightly!': a name has 1 to 40"),
        ("schedule: {nightly: {cron: a}}", "schedule is not a known key; did you mean schedules?"),
        ("submit: {entrypoint_resources: {spot: many}}", "submit.entrypoint_resources must be a mapping of text to"),
        ("submit: {metadata: {team: 5}}", "submit.metadata must be a mapping of text to text, not {'team': 5}"),
        ("submit: {runtime_env: conda}", "submit.runtime_env must be a mapping, not 'conda'"),
        ("- 1", "the file must be a mapping of keys to values, not [1]"),
        ("just text", "the file must be a mapping of keys to values, not 'just text'"),
        ("images: {max_bytes: 5\n", "line 2, column 1: not valid YAML"),
        ("images: {max_bytes: 5, max_bytes: 6}", "line 1, column 24: not valid YAML: the key max_bytes stands"),
        ("images: {}\nray: {}\nimages: {}\n", "the key images stands here twice"),
        ("images: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("images: {max_bytes: 2024-13-45}", "not valid YAML"),
        ("images: {? [a] : 1}", "not valid YAML"),
        ("[" * 400, "not valid YAML"),
    ],
)  # fmt: skip
def test_slips_in_the_file(refuse, text, sentence):
    message = refuse(text)
    assert message.startswith("ray_config.yaml: ")
    assert sentence in message


def test_slips_elsewhere_name_their_source(refuse):
    assert refuse(env={"ISOFLEET_IMAGES__MAX_BYTES": "many"}).startswith("ISOFLEET_IMAGES__MAX_BYTES: images.max_bytes")
    assert "images.max_byte is not" in refuse(env={"ISOFLEET_IMAGES__MAX_BYTE": "1"})
    assert "not valid YAML" in refuse(env={"ISOFLEET_IMAGES__MAX_BYTES": "[1"})
    assert refuse(images__max_bytes=0).startswith("command line: images.max_bytes must be a whole number of at least 1")
    assert "must be a section" in refuse(images=5)


def test_the_other_problems_are_counted(refuse):
    assert refuse("images: {max_bytes: 0, max_pixels: 0}").endswith("not 0 (and 1 other problem)")
    assert refuse("images: {max_bytes: 0, max_pixels: 0}\ncolour: red").endswith("(and 2 other problems)")


@pytest.mark.parametrize(
    "url", ["http://user:secret@host", "ftp://secret", "secret", "https://", "http://[secret", "http://host:secret"]
)
def test_an_endpoint_has_no_password_and_none_is_repeated(refuse, url):
    message = refuse(store__s3__endpoint_url=url)
    assert "store.s3.endpoint_url must be http" in message
    assert "secret" not in message


def test_a_poison_item_is_found_out_before_its_actor_is_given_up():
    with pytest.raises(ValidationError, match="found out before"):
        ActorSettings(max_deaths_per_item=4)
    assert ActorSettings(max_deaths_per_item=4, max_consecutive_deaths=5)


def test_files_that_are_no_configuration(tmp_path):
    for content, sentence in [(b"\xff\xfe", "UTF-8"), (b"#" * 300_000, "at most 262144 bytes")]:
        (tmp_path / "c").write_bytes(content)
        with pytest.raises(RequestError, match=sentence):
            load(tmp_path / "c", {}, {})
    with pytest.raises(RequestError, match=r"none\.yaml: the configuration file cannot be read: No such file"):
        load(tmp_path / "none.yaml", {}, {})
    with pytest.raises(RequestError, match="Is a directory"):
        load(tmp_path, {}, {})
