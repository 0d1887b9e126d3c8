"""A password in the address of a tracking server: it opens the server, and is written down nowhere."""

import os
import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from zoo.errors import UserError
from zoo.tracking import address

SECRET = "s3cr3t!word"
GIVEN = "s3cr3t%21word"
SMALL = ("epochs=1", "model.width=4", "model.depth=1", "verbose=0", "pictures=false")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in (address.USER, address.PASSWORD, address.TOKEN, "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # so that it is as before when the test has ended
        monkeypatch.delenv(name)
    monkeypatch.setattr(address, "_owner", None)


@pytest.mark.parametrize(
    "given, shown",
    [
        ("http://user:pw@host:5000", "http://user:***@host:5000"),
        ("http://user:p@w@host:5000/path", "http://user:***@host:5000/path"),
        ("http://user:1234@host", "http://user:***@host"),
        ("http://user:p/w@host", "http://user:***@host"),  # no address, but a password all the same
        ("postgresql+psycopg2://user:p%40w@host/db", "postgresql+psycopg2://user:***@host/db"),
        ("postgresql://host/db?user=u&password=pw&x=1", "postgresql://host/db?user=u&password=***&x=1"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("http://[::1]:5000/a@b", "http://[::1]:5000/a@b"),
        ("http://user@host", "http://user@host"),
        ("sqlite:////folder/a:b@c.db", "sqlite:////folder/a:b@c.db"),
        ("tracking.uri=http://user:pw@host model=lenet", "tracking.uri=http://user:***@host model=lenet"),
    ],
)
def test_a_password_is_masked_once_and_for_all(given, shown):
    assert address.masked(given) == shown
    assert address.masked(shown) == shown


def test_what_is_hidden_from_a_config_is_what_a_connection_has():
    given = "postgresql+psycopg2://me:p%40%2Fw@host/db"
    config = OmegaConf.create(
        {
            "tracking": {"uri": given},
            "hydra": {
                "overrides": {"task": [f"tracking.uri={given}", "epochs=${oc.env:NONE}"], "hydra": []},
                "job": {"override_dirname": f"epochs=3,tracking.uri={given}"},
            },
        }
    )
    OmegaConf.set_readonly(config, True)

    address.hide(config)

    shown = "postgresql+psycopg2://me:***@host/db"
    assert config.tracking.uri == shown
    plain = OmegaConf.to_container(config.hydra, resolve=False)
    assert plain["overrides"]["task"] == [f"tracking.uri='{shown}'", "epochs=${oc.env:NONE}"]
    assert plain["job"]["override_dirname"] == f"epochs=3,tracking.uri={shown}"
    assert os.environ[address.PASSWORD] == "p@/w"
    assert address.USER not in os.environ


def test_of_http_mlflow_gets_the_user_by_the_environment(monkeypatch):
    assert address.without_password("http://me:pw@host:5000/x") == "http://me:***@host:5000/x"
    assert address.connection("http://me:***@host:5000/x") == "http://host:5000/x"
    assert (os.environ[address.USER], os.environ[address.PASSWORD]) == ("me", "pw")
    with pytest.raises(UserError, match=r"http://other:5000 may not get the password of http://host:5000"):
        address.connection("http://other:5000")
    monkeypatch.setattr(address, "_owner", None)
    with pytest.raises(UserError, match="asks for another user"):
        address.connection("http://you:***@host:5000")


def test_a_password_that_is_not_there_is_asked_for():
    with pytest.raises(UserError, match=r"http://me:\*\*\*@host needs its password again: set MLFLOW_TRACKING_PASS"):
        address.connection("http://me:***@host")


@pytest.mark.parametrize(
    "uri, cure",
    [
        ("htp://host:5000", "give http://HOST:5000"),
        ("http://", "give http://HOST:5000"),
        ("http://host:port", "give http://HOST:5000"),
        ("runs", "give sqlite:////"),
        ("file:///folder/runs", "give sqlite:////folder/runs/mlflow.db"),
        ("mysql+pymysql://host/db", "pip install pymysql"),
        ("postgresql+nothing://host/db", "no address of a database"),
    ],
)
def test_an_address_of_no_store_is_told_with_the_cure(uri, cure, train):
    done = train(*SMALL, f"tracking.uri={uri}", code=1)
    assert done.stderr.startswith(f"error: tracking.uri={uri}: ") and cure in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(train.home.rglob("*.*"))


@pytest.fixture
def proxy(proxy):
    """What lets only one user in."""
    proxy.demand("me", SECRET)
    return proxy


def runs(train, server, monkeypatch) -> list:
    """The runs of this test as the server has them, when what it missed on a busy machine was sent."""
    monkeypatch.setenv(address.PASSWORD, SECRET)
    sent = train.module("zoo.tracking", "resend")
    assert sent.returncode == 0, sent.stderr
    monkeypatch.delenv(address.PASSWORD)
    found = [run for run in server.runs() if run.data.tags["folder"].startswith(str(train.home))]
    for run in found:
        server.assert_complete(run, epochs=1)
    return found


def assert_nowhere(folders: list[Path], *done: subprocess.CompletedProcess) -> None:
    """Hold that no file, nor what commands said, has the password."""
    for secret in (SECRET, GIVEN):
        for path in (path for folder in folders for path in folder.rglob("*")):
            assert secret not in path.name
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path
        assert all(secret not in out.stdout + out.stderr for out in done)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["word", "environment", "file"])
def test_a_runs_password_is_written_nowhere(way, train, shared_server, proxy, tmp_path, monkeypatch):
    given = proxy.address.replace("://", f"://me:{GIVEN}@")
    if way == "word":
        done = train(*SMALL, f"tracking.uri={given}")
    elif way == "environment":
        done = train(*SMALL, MLFLOW_TRACKING_URI=given)
    else:
        (tmp_path / "conf" / "tracking").mkdir(parents=True)
        (tmp_path / "conf" / "tracking" / "ours.yaml").write_text(
            "enabled: true\nuri: ${oc.env:OURS}\nexperiment: gradient-zoo\n"
        )
        done = train("--config-dir", str(tmp_path / "conf"), *SMALL, "tracking=ours", OURS=given)
    assert len(runs(train, shared_server, monkeypatch)) == 1
    assert_nowhere([tmp_path, shared_server.folder], done)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "basic"])
def test_a_sweeps_password_is_written_nowhere(launcher, train, shared_server, proxy, tmp_path, monkeypatch):
    words = ("-m", "seed=0,1", *SMALL, f"hydra/launcher={launcher}")
    shown = proxy.address.replace("://", "://me:***@")

    done = train(*words, f"tracking.uri={shown.replace('***', GIVEN)}")

    found = runs(train, shared_server, monkeypatch)
    assert [run.data.params["tracking.uri"] for run in found] == [shown, shown]
    (folder,) = train.folders("sweeps")
    (folder / "0" / "summary.json").unlink()
    again = train(*words, f"tracking.uri={shown}", MLFLOW_TRACKING_PASSWORD=SECRET)
    assert train.folders("sweeps") == [folder]
    assert (folder / "0" / "summary.json").is_file()
    refused = train(*words, f"tracking.uri={shown}", code=1)
    assert refused.stderr == f"error: the tracking store {shown} needs its password again: set {address.PASSWORD}.\n"
    assert_nowhere([tmp_path, shared_server.folder], done, again, refused)


@pytest.mark.slow
def test_a_wrong_password_is_told_in_one_line(train, proxy, tmp_path):
    shown = proxy.address.replace("://", "://me:***@")
    done = train(*SMALL, f"tracking.uri={shown.replace('***', f'{GIVEN}x')}", code=1)
    assert done.stderr.startswith(
        f"error: the tracking store {shown} cannot be used (it refuses the user name or password);"
    )
    assert done.stderr.count("\n") == 1
    assert not train.folders()
    assert_nowhere([tmp_path], done)


@pytest.mark.slow
def test_a_token_and_a_netrc_file_open_the_server_too(train, shared_server, proxy, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    train(*SMALL, f"tracking.uri={proxy.address}", NETRC=str(netrc))
    proxy.authorization = "Bearer token"
    train(*SMALL, f"tracking.uri={proxy.address}", MLFLOW_TRACKING_TOKEN="token")
    proxy.authorization = None
    assert len(runs(train, shared_server, monkeypatch)) == 2


def test_a_mistake_in_another_word_does_not_tell_the_password(train):
    done = train(f"tracking.uri=http://me:{SECRET}@host", "epochs=none", code=1)
    assert SECRET not in done.stderr + done.stdout
    done = train(f"tracking.uri=http://me:{SECRET}=@host", code=1)  # = is none of Hydra's letters
    assert SECRET not in done.stderr + done.stdout
    assert done.stderr.count("\n") == 1
