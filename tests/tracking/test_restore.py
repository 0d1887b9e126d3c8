"""From the folders back to the store, and one broken file that does not stop the rest."""

import json
import shutil

import pytest

from zoo.archive.sweep import SweepFolder, find
from zoo.tracking.journal import Journal
from zoo.tracking.store import Store

WORDS = ("epochs=3", "model.width=8", "verbose=0")


@pytest.fixture(scope="module")
def recorded(shared_train):
    shared_train("-m", "seed=0,1", *WORDS, "pictures=false")
    shared_train(*WORDS)
    return shared_train


@pytest.fixture
def home(recorded, train):
    """A copy of a home with a sweep and a run of its own, as a person moves it to another disk."""
    shutil.copytree(recorded.home, train.home)
    return train


def content(command) -> list:
    """What the store says of each run, without what two creations of it must differ in."""
    found = []
    for kind in ("sweep", "run"):
        for run in command.recorded(kind):
            own = ("journal", "folder", "mlflow.parentRunId", "mlflow.user")
            tags = {key: value for key, value in run.data.tags.items() if key not in own}
            points = {
                name: [(p.step, p.value) for p in command.client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            }
            files = sorted(file.path for file in command.client.list_artifacts(run.info.run_id))
            found.append((run.info.run_name, run.info.status, run.data.params, tags, points, files))
    return sorted(found, key=lambda entry: entry[0])


def test_a_lost_database_is_made_again_from_the_folders(home):
    before = content(home)
    (home.home / "mlruns" / "mlflow.db").unlink()

    done = home.module("zoo.tracking", "restore")

    assert (done.stdout, done.returncode) == ("3 runs brought in that the store did not have\n", 0), done.stderr
    after = content(home)
    assert len(after) == 4
    for was, now in zip(before, after, strict=True):
        assert now == was
    (sweep,) = home.recorded("sweep")
    of_sweep = [run for run in home.recorded() if run.data.tags.get("sweep")]
    assert {run.data.tags["mlflow.parentRunId"] for run in of_sweep} == {sweep.info.run_id}
    again = home.module("zoo.tracking", "restore")
    assert again.stdout == "0 runs brought in that the store did not have\n"
    assert not list(home.home.rglob(".state"))
    resumed = home("-m", "seed=0,1", *WORDS, "pictures=false")
    assert resumed.stdout == "" and len(home.recorded()) == 3


def test_runs_that_were_not_to_be_recorded_are_not(home):
    home(*WORDS, "tracking=none")
    assert home.module("zoo.tracking", "restore", "--quiet").stdout == ""


def spoil(folder, name: str, text: bytes) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(text)


def test_a_broken_summary_is_named_and_the_other_runs_are_sent(home):
    first, second = home.folders("sweeps")[0] / "0", home.folders("sweeps")[0] / "1"
    spoil(first, "summary.json", b"")
    (home.home / "mlruns" / "mlflow.db").unlink()
    done = home.module("zoo.tracking", "restore")
    assert done.stdout.startswith("2 runs") and done.returncode == 1
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(f"error: {first}/summary.json ")
    assert json.loads((second / "summary.json").read_text())["run_id"]


@pytest.mark.parametrize("name", ["delivered.json", "journal.jsonl"])
def test_what_a_broken_journal_lost_comes_from_the_folder(name, home):
    """A run whose process was killed before it had sent anything, and a file of whose journal is damaged."""
    before = content(home)
    (home.home / "mlruns" / "mlflow.db").unlink()
    home.module("zoo.tracking", "restore")
    (folder,) = home.folders()
    spoil(folder, f".state/{name}", b"\x00garbage\n{}\n")
    done = home.module("zoo.tracking", "resend")
    assert done.returncode == (name == "journal.jsonl")
    if name == "journal.jsonl":
        assert done.stderr == (
            f"error: {folder}/.state/{name} is broken: delete it, then `python -m zoo.tracking restore` sends the "
            "folder.\n"
        )
    assert [entry[:2] for entry in content(home)] == [entry[:2] for entry in before]


@pytest.mark.slow
def test_a_broken_sweep_file_stops_no_other_sweep(home):
    (sweep,) = home.folders("sweeps")
    spoil(sweep, "sweep.json", b"\xff\xfe")
    done = home("-m", "seed=5", *WORDS[:2], "pictures=false")
    assert "1/1  mlp on digits seed=5" in done.stdout


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[1]", b"null"])
def test_a_sweep_file_that_cannot_be_read_says_nothing(text, tmp_path):
    spoil(tmp_path, "sweep.json", text)
    assert SweepFolder(tmp_path).read() == {} and find(tmp_path.parent, "anything", None) is None


@pytest.mark.slow
def test_a_run_of_a_sweep_whose_summary_is_broken_is_done_again(home):
    (sweep,) = home.folders("sweeps")
    expected = json.loads((sweep / "1" / "summary.json").read_text())["metrics"]
    spoil(sweep / "1", "summary.json", b'{"status": ')
    done = home("-m", "seed=0,1", *WORDS, "pictures=false")
    told = [line for line in done.stderr.splitlines() if "summary.json" in line]
    assert len(told) == 1 and told[0].endswith("This one is done again.")
    assert json.loads((sweep / "1" / "summary.json").read_text())["metrics"] == pytest.approx(expected, rel=1e-3)


def test_a_line_of_a_journal_that_was_changed_is_left_out_and_sent_again(tmp_path):
    journal = Journal(tmp_path)
    journal.append("create", tags={"journal": "key"})
    journal.append("points", points=[["loss", 1.25, 1]])
    journal.append("points", points=[["loss", 0.75, 2]])
    journal.run_id = "id"
    journal.advance(3)
    journal.close()
    journal.path.write_text(journal.path.read_text().replace("1.25", "9.25"))

    again = Journal(tmp_path, keep=True)

    assert again.damaged and (again.run_id, again.key) == ("id", "key")
    assert [entry.get("points") for entry in again.pending] == [None, [["loss", 0.75, 2]]]
    again.close()


def test_a_journal_of_the_first_versions_is_read(tmp_path):
    (tmp_path / ".state").mkdir()
    lines = [{"op": "create", "tags": {"journal": "key"}}, {"op": "end", "status": "FINISHED"}]
    (tmp_path / ".state" / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / ".state" / "delivered.json").write_text('{"delivered": 1, "run_id": "id"}')
    journal = Journal(tmp_path, keep=True)
    assert (journal.run_id, journal.key, journal.damaged) == ("id", "key", False)
    assert list(journal.pending) == lines[1:]
    journal.close()


def test_a_folder_with_an_apostrophe_is_found_again(tmp_path):
    folder = tmp_path / "the cat's"
    store = Store(tmp_path, "gradient-zoo")
    store.create("run", {"folder": str(folder)}, 1)
    assert len(store.recorded_of(folder)) == 1 and not store.recorded_of(tmp_path)


def test_a_run_whose_process_and_journal_are_gone_does_not_run_for_ever(recorded, home):
    """The store alone knows that it began."""
    folder = next((home.home / "mlruns" / "runs").iterdir())
    store = Store(home.home, "gradient-zoo", home.uri)
    run_id = store.client.create_run(
        store.experiment_id, tags={"kind": "run", "folder": str(folder)}, run_name="begun"
    ).info.run_id
    (folder / "summary.json").unlink()

    done = home.module("zoo.tracking", "restore")

    assert done.returncode == 0, done.stderr
    assert store.client.get_run(run_id).info.status == "KILLED"
