"""Files that are replaced as a whole, and files that grow and are summed up."""

import os
import zlib

import pytest

from zoo.archive.files import Sum, replace_file, replace_file_with


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a.json"
    replace_file(path, "ü\n")
    assert path.read_bytes() == "ü\n".encode()
    (tmp_path / "a.json.new").write_text("what a killed process left, longer than what follows")
    replace_file(path, b"12")
    assert path.read_bytes() == b"12" and list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a"
    replace_file(path, "before")

    def write(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file_with(path, write)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_it_has_its_name_and_the_name_after(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(os.readlink(f"/proc/self/fd/{fd}")), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("replace"), replace(a, b)))
    replace_file(tmp_path / "a", "x")
    assert done == [str(tmp_path / "a.new"), "replace", str(tmp_path)]


def test_a_folder_that_cannot_be_synced_is_let_be(tmp_path, monkeypatch):
    sync = os.fsync

    def on_files_alone(fd):
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(22, "Invalid argument")
        sync(fd)

    monkeypatch.setattr(os, "fsync", on_files_alone)
    replace_file(tmp_path / "a", "x")
    assert (tmp_path / "a").read_text() == "x"


def test_a_sum_reads_new_bytes_alone(tmp_path, monkeypatch):
    path, whole = tmp_path / "a", b""
    path.touch()
    added = Sum(path)
    assert added.take() == (0, 0)
    read, crc32 = [], zlib.crc32
    monkeypatch.setattr("zlib.crc32", lambda chunk, crc=0: (read.append(len(chunk)), crc32(chunk, crc))[1])
    for part in (b"abc", b"", bytes(3 * 2**20), b"d"):
        whole += part
        with open(path, "ab") as file:
            file.write(part)
        assert added.take() == (len(whole), crc32(whole))
    assert sum(read) == len(whole)
    assert Sum(path).take(3) == (3, crc32(b"abc")) and Sum(path).take(10**9)[0] == len(whole)


def test_a_file_that_was_replaced_or_cut_is_summed_up_anew(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abcdef")
    added = Sum(path)
    added.take()
    replace_file(path, b"ghijklm")
    assert added.take() == (7, zlib.crc32(b"ghijklm"))
    os.truncate(path, 2)
    assert added.take() == (2, zlib.crc32(b"gh"))
