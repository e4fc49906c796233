"""The operator's file: what is accepted, and that every mistake is told at once with its remedy."""

import errno
import json
from pathlib import Path as FilePath

import pytest
from click.testing import CliRunner

from gateway.cli.root import cli
from gateway.configuration.config import load, parse
from gateway.configuration.sample import reference, sample
from gateway.errors import ConfigError
from gateway.formats.durations import duration_text, parse_duration
from gateway.model import Path
from gateway.policy import ReportRule
from tests.fakes import STATION


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value).splitlines()


def test_an_empty_file_is_valid_and_bridges_nothing() -> None:
    config = parse("")
    assert not config.rules.devices
    assert not config.adapters


def test_a_device_is_listed_with_its_prefix_name_rights_and_report_rule() -> None:
    config = parse("""
        [report]
        min_interval = "1s"
        [[device]]
        id = "ble:00:24:BE:80:4F:F1"
        prefix = "weather"
        name = "Weather station"
        writable = ["3312/0/5850", "/3311", "3306/*/5850"]
        report = {deadband = 0.5}
    """)
    rule = config.rules.of(STATION)
    assert (rule.listed, rule.prefix, rule.name) == (True, "weather", "Weather station")
    assert rule.allows_writing(Path(3311, 2, 5851))
    assert rule.allows_writing(Path(3306, 7, 5850))
    assert not rule.allows_writing(Path(3306, 7, 5851))
    assert not rule.allows_writing(Path(3312, 0, 5851))
    assert config.rules.report_rule(STATION, Path(3303, 0, 5700)) == ReportRule(0.5, 1.0, 300.0)


def test_five_mistakes_are_told_at_once_each_with_its_place_and_remedy() -> None:
    told = faults("""
        [gatewai]
        [report]
        min_intervall = "1s"
        max_age = 60
        [[device]]
        id = "00:24:be:80:4f:f1"
        [[device]]
        id = "ble:00-24-be-80-4f-f1"
        prefix = "3303"
    """)
    assert told == [
        "[report] max_age = 60: expected a duration with its unit, "
        'such as "500ms", "30s", "5min", "1h"',
        "[report] min_intervall = '1s': unknown key; did you mean 'min_interval'?",
        "[device #1] id = '00:24:be:80:4f:f1': "
        "expected ble:aa-bb-cc-dd-ee-ff or lowpan:00124b0001020304",
        "[device #2] prefix = '3303': a prefix is a letter, then up to 31 of A-Z a-z 0-9 _ . -",
        "[gatewai]: unknown section; did you mean 'gateway'?",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[device]]", "[device #1] id: is missing"),
        ("[device]", "two brackets"),
        ("device = 3", "two brackets"),
        ("gateway = 3", "[gateway] = 3"),
        ("[gateway]\nlog = 'loud'", "should be 'debug', 'info', 'warning' or 'error'"),
        ("[report]\ndeadband = -1", "greater than or equal to 0"),
        ("[report]\nmin_interval = '5 parsecs'", "expected a duration"),
        ("[[device]]\nid = 'ble:00-24-be-80-4f-f1'\nwritable = ['x']", "not a path"),
        ("[[device]]\nid = 'ble:00-24-be-80-4f-f1'\nreport = {dedband = 1}", "mean 'deadband'"),
        (
            "[[device]]\nid = 'ble:00-24-be-80-4f-f1'\nname = \"\\u001b[31mb\\nINFO all is well\"",
            "INFO all is well': a name is up to 64 printable characters",
        ),
        (
            f"[[device]]\nid = 'ble:00-24-be-80-4f-f1'\nname = '{'x' * 65}'",
            "a name is up to 64 printable characters",
        ),
        ("[[device]]\nid = 'ble:00-24-be-80-4f-f1'\n" * 2, "several [[device]] sections"),
        (
            "[[device]]\nid = 'ble:00-24-be-80-4f-f1'\nname = 'Attic'\n"
            "[[device]]\nid = 'ble:00-24-be-80-4f-f2'\nname = 'Attic'\n",
            "[device] name = 'Attic': stands in several [[device]] sections",
        ),
        (
            "[[device]]\nid = 'ble:00-24-be-80-4f-f1'\nprefix = 'attic'\n"
            "[[device]]\nid = 'ble:00-24-be-80-4f-f2'\nname = 'attic'\n",
            "[device] name = 'attic': is the prefix of ble:00-24-be-80-4f-f1",
        ),
        ("log = ", "not TOML"),
        ("[resource]\npath = '3303'", "expected sections headed [[resource]]"),
        ("[[resource]]\npath = '3303/x'", "[resource #1] path = '3303/x': not a path like"),
        ("[[resource]]\npath = '3303/1*'", "* stands for a whole id, as in 3303/*/5700"),
        ("[[admit]]", "[admit #1] = {}: say at least one of id, name, service, adapter"),
        ("[[admit]]\nid = '00:24:be'", 'such as "ble:00-24-be-*"'),
        ("[[admit]]\nid = 'ble:00:24:BE'", 'its beginning is "ble:00:24:BE*"'),
        ("[[block]]\nservice = '181'", 'such as "181a"'),
        ("[[block]]\nnmae = 'TV'", "did you mean 'name'?"),
        ("[[block]]\nadapter = 'bel'", "unknown adapter; did you mean 'ble'?"),
        (
            "[[admit]]\nname = 'TV'\n[[block]]\nname = 'TV'",
            "[admit] name = 'TV': [[block]] says the same, and counts first",
        ),
        ("[[resource]]\npath = '3303'\nscale = 0", "greater than 0"),
        ("[[resource]]\npath = '3303'\nhide = true", "did you mean 'hidden'?"),
        ("[[resource]]\npath = '3303/0'\n" * 2, "[resource] path = '3303/0': stands in several"),
        (
            "[[device]]\nid = 'ble:00-24-be-80-4f-f1'\n[[device.resource]]\npath = '3'\nscael = 1",
            "[device #1] resource #1.scael = 1: unknown key; did you mean 'scale'?",
        ),
        (
            "[report]\nmax-interval = '1s'",
            "max-interval = '1s': unknown key; did you mean 'max_int",
        ),
        ('[coap]\n"lis ten" = 4', "[coap] \"lis ten\" = 4: unknown key; did you mean 'listen'?"),
        (
            "[coap]\nlisten_ws = ['127.0.0.1:8080']\n[status]",
            "[status] listen = '127.0.0.1:8080': [coap] listen_ws has 127.0.0.1:8080; take another",
        ),
        (
            "[coap]\nlisten = ['[::1]:5683', '[0::1]:5683']",
            "[coap] listen = '[0::1]:5683': [coap] listen has [::1]:5683; take another port",
        ),
        (
            "[coap]\nlisten = ['0.0.0.0:5683', '192.0.2.1:5683']",
            "[coap] listen = '192.0.2.1:5683': [coap] listen has 0.0.0.0:5683",
        ),
        ("[COAP]", "did you mean 'coap'?"),
        ("log = 'debug'", "log = 'debug': stands above all sections; its place is below [gateway]"),
        ("[[ble]]", "[ble] = [{}]: expected a section headed [ble]"),
        (
            "[coap]\nlisten = '[::]:5683'",
            "[coap] listen = '[::]:5683': expected a list in brackets: [\"[::]:5683\"]",
        ),
        ("[coap]\nlisten = [1]", "[coap] listen #1 = 1: expected text in quotes"),
        ("[ble]\nsleepy = [1]", "[ble] sleepy #1 = 1: expected text in quotes"),
        ("[ble]\nadapter = 'eth0'", "expected text such as 'hci0'"),
        ("[report]\ndeadband = true", "deadband = true: expected a number"),
        ("[report]\ndeadband = nan", "deadband = nan: expected a number"),
        ("[journal]\nentries = '5'", "entries = '5': expected a whole number"),
        ("[gateway]\ndefinitions = ''", "expected the path of a file or folder"),
        ("[gateway]\ndefinitions = 5", "expected text in quotes"),
        ("[gateway]\nlocation = 'here'", "expected a table, such as {key = ...}"),
        ("[[resource]]\npath = 3", 'expected a path in quotes, such as "3303/*/5700"'),
        (
            "[xmpp]\njid = 'a@b.c'\nroles = {'d@b.c' = 'boss'}",
            "[xmpp] roles.\"d@b.c\" = 'boss': should be 'reader', 'operator' or 'admin'",
        ),
        (
            "[xmpp]\njid = 'a@b.c'\npassword = 'guess'",
            "[xmpp] password = ...: unknown key; did you mean 'password_file'?",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(text: str, told: str) -> None:
    (line,) = faults(text)
    assert told in line


def test_servers_may_have_one_port_number_where_both_can_be_had() -> None:
    parse("""
        [coap]
        listen = ["127.0.0.1:5683", "192.0.2.1:5683", "[::]:5683", "127.0.0.1:0", "127.0.0.1:0"]
        listen_tcp = ["0.0.0.0:5683", "[::]:5683"]
    """)


def test_a_missing_file_says_how_to_write_one(tmp_path: FilePath) -> None:
    with pytest.raises(ConfigError, match="config sample"):
        load(tmp_path / "gateway.toml")


def test_a_file_from_another_system_is_read_all_the_same(tmp_path: FilePath) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(b'\xef\xbb\xbf[gateway]\r\nlog = "debug"\r\n')
    assert load(file).gateway.log == "debug"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[gateway]\n# caf\xe9\n", r"gateway\.toml: not UTF-8 text \(line 2\)$"),
        (b'[gateway]\nlog = "info"\nlog = "debug"\n', r"\(at line 3, column \d+\): log = \.\.\.$"),
        (b"[gateway]\nlog = secret\n", r"line 2, column \d+\): log = \.\.\.$"),
        (b"[gateway\n", r"line 1, column \d+\): \[gateway$"),
    ],
)
def test_a_file_that_is_no_toml_says_where(tmp_path: FilePath, content: bytes, told: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        load(file)


def test_a_folder_in_place_of_the_file_is_told_without_advice_to_write_over_it(
    tmp_path: FilePath,
) -> None:
    with pytest.raises(ConfigError, match=r"Is a directory$"):
        load(tmp_path)


def test_who_may_not_read_the_file_is_told_so(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(file: FilePath) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", file)

    monkeypatch.setattr(FilePath, "read_bytes", refused)
    with pytest.raises(ConfigError, match=r"try sudo$"):
        load(tmp_path / "gateway.toml")


def test_a_program_is_told_the_faults_of_a_file_and_nothing_else(tmp_path: FilePath) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[gatewey]\n[blee]\n")
    done = CliRunner().invoke(cli, ["check", "--json", "--config", str(file)])
    assert isinstance(done.exception, ConfigError)
    told = [finding["text"] for finding in json.loads(done.stdout)]
    assert [text.split(":")[0] for text in told] == ["[gatewey]", "[blee]"]


def test_the_faults_of_a_file_are_headed_by_its_name(tmp_path: FilePath) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[gatewey]")
    with pytest.raises(ConfigError, match=r"gateway\.toml cannot be used:\n  \[gatewey\]: unknown"):
        load(file)


def test_the_sample_is_valid_and_is_the_file_in_the_repository() -> None:
    parse(sample())
    assert FilePath("config/gateway.toml").read_text("utf-8") == sample()


def test_the_reference_page_is_in_step() -> None:
    assert FilePath("docs/configuration.md").read_text("utf-8") == reference()


def test_the_reference_page_tells_default_or_example_and_what_a_change_needs() -> None:
    page = reference()
    assert '| `log` | `"info"` | live | How much is logged' in page
    assert '| `socket` | `"/run/border-gateway/control.sock"` | restart |' in page
    assert '| `pan_id` | `"0xabcd"` | adapter |' in page
    assert '| `jid` | required, such as `"gateway@example.org"` | adapter |' in page


def test_every_key_of_the_sample_is_valid_when_switched_on() -> None:
    lines = sample().splitlines()
    switched_on = "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in lines
    )
    parse(switched_on)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("1.5min", 90), ("1 h", 3600), ("2d", 172800)],
)
def test_durations_are_written_with_their_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(duration_text(seconds)) == seconds
