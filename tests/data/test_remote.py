import itertools
import os
import pickle
import shutil
import threading
import time

import pytest
import torch

from musicgen_train.data import remote
from musicgen_train.data.datamodule import MusicDataModule
from musicgen_train.data.index import load_index
from musicgen_train.data.page_cache import PageCache
from musicgen_train.data.shards import ShardReader
from musicgen_train.errors import UserError
from tests.data.range_server import serving
from tests.data.small_dataset import write_dataset

N = 24
PAGE = 10_000


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    write_dataset(folder / "set", N, n_valid=3, shard_bytes=30000)
    return folder


@pytest.fixture(autouse=True)
def short_waits_and_small_pages(monkeypatch):
    monkeypatch.setattr(remote, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(PageCache.__init__, "__defaults__", (None, 20.0, PAGE))


def data(path, cache, **options):
    options = {"kind": "audio", "segment_duration": 0.5, "batch_size": 3, **options}
    return MusicDataModule(path, cache_dir=str(cache), **{"cache_gb": 1.0, **options})


def batches(datamodule, n):
    return list(itertools.islice(datamodule.train_dataloader(), n))


def assert_equal(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys == b.keys and a.metadata == b.metadata
        assert torch.equal(a[0], b[0]) and torch.equal(a.chroma, b.chroma)


def cached_bytes(folder):
    return sum(entry.stat().st_size for entry in (folder / "pages").iterdir())


@pytest.mark.parametrize(
    ("kind", "num_workers", "shuffle_shards"),
    [("audio", 0, 2), ("audio", 2, 0), ("codes", 0, 0), ("codes", 2, 2)],
)
def test_a_remote_dataset_gives_what_the_local_one_gives(
    root, tmp_path, kind, num_workers, shuffle_shards
):
    options = {"kind": kind, "num_workers": num_workers, "shuffle_shards": shuffle_shards}
    with serving(root) as server:
        far = data(server.url("set"), tmp_path, **options)
        near = data(root / "set", tmp_path, **options)
        assert_equal(batches(far, 20), batches(near, 20))
        assert_equal(list(far.val_dataloader()), list(near.val_dataloader()))
    assert far.fingerprint == near.fingerprint


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_cache_keeps_to_its_bound_while_epochs_pass(root, tmp_path, num_workers, monkeypatch):
    limit = 150_000
    highest, done = [0], threading.Event()

    def watch():
        while not done.is_set():
            if (tmp_path / "pages").exists():
                try:
                    # Nothing is evicted meanwhile; what is renamed may be counted twice, once.
                    with PageCache(tmp_path)._locked("total"):
                        size = min(cached_bytes(tmp_path) for _ in range(3))
                    highest[0] = max(highest[0], size)
                except FileNotFoundError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    with serving(root) as server:
        options = {"num_workers": num_workers, "shuffle_shards": 2}
        far = data(server.url("set"), tmp_path, cache_gb=limit / 1e9, **options)
        near = data(root / "set", tmp_path, **options)
        assert sum(far.index.shard_sizes().values()) > 1.5 * limit
        assert_equal(batches(far, 24), batches(near, 24))
    done.set()
    watcher.join()
    assert limit / 2 < highest[0] <= limit
    assert not list(tmp_path.glob("pages/*.tmp"))


def test_what_is_cached_is_not_fetched_again_by_another_run(root, tmp_path):
    with serving(root) as server:
        first = batches(data(server.url("set"), tmp_path), 16)
        server.requests.clear()
        assert_equal(batches(data(server.url("set"), tmp_path), 16), first)
        assert {request.split()[1] for request in server.requests} == {"dataset.json", "index.npz"}


def test_workers_do_not_fetch_a_page_twice(root, tmp_path):
    with serving(root) as server:
        batches(data(server.url("set"), tmp_path, num_workers=2), 2 * N // 3)
        total = sum(f.stat().st_size for f in (root / "set").iterdir())
        looks = server.requests.count("GET dataset.json")  # one after each page
        info = (root / "set" / "dataset.json").stat().st_size
        assert server.n_bytes <= total + looks * info and looks <= total / PAGE + 10


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_server_that_fails_every_third_request_only_takes_longer(root, tmp_path, num_workers):
    with serving(root, fail_every=3) as server:
        far = data(server.url("set"), tmp_path, num_workers=num_workers, shuffle_shards=0)
        assert_equal(batches(far, 16), batches(data(root / "set", tmp_path), 16))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_server_that_dies_stops_the_run_in_one_line(root, tmp_path, num_workers):
    with serving(root) as server:
        far = data(server.url("set"), tmp_path, num_workers=num_workers)
    with pytest.raises(UserError, match=r"/set/\S+: cannot be read, tried 6 times") as caught:
        batches(far, 16)
    assert "\n" not in str(caught.value)


def test_a_server_without_ranges_is_refused_before_it_sends_whole_shards(root, tmp_path):
    with serving(root, with_ranges=False) as server:
        far = data(server.url("set"), tmp_path)
        server.requests.clear()
        with pytest.raises(UserError, match="ignores range requests; use one"):
            batches(far, 1)
        assert not [request for request in server.requests if "shard" in request]


def test_what_is_missing_is_named(root, tmp_path):
    with serving(root) as server, pytest.raises(UserError, match=r"none/dataset\.json: no such"):
        data(server.url("none"), tmp_path)
    with pytest.raises(UserError, match="use a folder, or a URL"):
        data("nothing://of/the/kind", tmp_path)


def test_a_shard_that_changed_its_size_is_noticed(tmp_path):
    folder = write_dataset(tmp_path / "set", 4)
    with serving(tmp_path) as server:
        far = data(server.url("set"), tmp_path / "cache")
        with (folder / "shard-000000.tar").open("ab") as file:
            file.write(bytes(512))
        with pytest.raises(UserError, match=r"bytes, the index says \d+; the dataset was changed"):
            batches(far, 4)


def test_a_dataset_replaced_by_one_of_equal_sizes_is_noticed_and_not_cached(tmp_path):
    old, new = (write_dataset(tmp_path / name, 9, name=name[0]) for name in ("old", "new"))
    shutil.copytree(old, tmp_path / "set")
    with serving(tmp_path) as server:
        far = data(server.url("set"), tmp_path / "cache", shuffle_shards=0)
        seen = batches(far, 1)
        pages = set(os.listdir(tmp_path / "cache" / "pages"))
        shutil.copytree(new, tmp_path / "set", dirs_exist_ok=True)
        with pytest.raises(UserError, match=r"its fingerprint is \w+, not \w+; .*was changed"):
            batches(far, 9)
        assert set(os.listdir(tmp_path / "cache" / "pages")) == pages
        shutil.copytree(old, tmp_path / "set", dirs_exist_ok=True)
        again = data(server.url("set"), tmp_path / "cache", shuffle_shards=0)
        straight = batches(data(old, tmp_path / "cache"), 9)
        assert_equal(batches(again, 9), straight)
        assert_equal(seen, straight[:1])


def test_looking_for_changes_costs_a_page_the_same_however_many_shards_there_are(
    tmp_path, monkeypatch
):
    looked: list[int] = []
    fetch = remote.fetch

    def counting(url, start=None, end=None):
        found = fetch(url, start, end)
        looked.extend([len(found)] * url.endswith("dataset.json"))
        return found

    folder = write_dataset(tmp_path / "set", 60, shard_bytes=1)
    whole = (folder / "dataset.json").stat().st_size
    assert whole > 2 * remote._END
    with serving(tmp_path) as server:
        far = data(server.url("set"), tmp_path / "cache", shuffle_shards=0)
        monkeypatch.setattr(remote, "fetch", counting)
        batches(far, 20)
    assert looked.count(whole) == 1
    assert sum(looked) - whole <= 61 * remote._END


def test_a_dataset_replaced_by_a_smaller_one_is_noticed(tmp_path):
    write_dataset(tmp_path / "set", 60, shard_bytes=1)
    new = write_dataset(tmp_path / "new", 20, shard_bytes=1, name="n")
    with serving(tmp_path) as server:
        far = data(server.url("set"), tmp_path / "cache", shuffle_shards=0)
        batches(far, 1)
        (tmp_path / "set" / "dataset.json").write_bytes((new / "dataset.json").read_bytes())
        with pytest.raises(UserError, match=r"its fingerprint is \w+, not \w+; .*was changed"):
            batches(far, 20)


def test_a_dataset_prepared_anew_at_the_same_address_is_not_read_from_the_cache(tmp_path):
    cache = tmp_path / "cache"
    with serving(tmp_path) as server:
        for seconds in (2.0, 1.0):
            folder = write_dataset(tmp_path / "set", 4, seconds=seconds)
            far = batches(data(server.url("set"), cache, shuffle_shards=0), 4)
            assert_equal(far, batches(data(folder, cache), 4))
            shutil.rmtree(folder)


def test_a_checkpoint_keeps_its_order_where_the_data_moved(root, tmp_path):
    with serving(root) as server:
        far = data(server.url("set"), tmp_path)
        assert far.shuffle_shards == [16]
        straight = batches(far, 16)
        near = data(root / "set", tmp_path)
        assert near.shuffle_shards == [0]
        near.load_state_dict(far.state_dict() | {"consumed": 9})
        assert_equal(batches(near, 13), straight[3:])


def test_a_cache_smaller_than_what_is_shuffled_together_is_refused(root, tmp_path):
    with serving(root) as server, pytest.raises(UserError, match=r"lower shuffle_shards"):
        data(server.url("set"), tmp_path, cache_gb=1e-4)


def test_a_cache_smaller_than_what_a_checkpoint_shuffles_together_is_refused(root, tmp_path):
    with serving(root) as server:
        far = data(server.url("set"), tmp_path, cache_gb=1e-4, shuffle_shards=1)
        state = data(root / "set", tmp_path).state_dict()
        with pytest.raises(UserError, match=r"cache_gb=0\.0001 cannot hold"):
            far.load_state_dict(state)


def test_readers_may_be_sent_to_other_processes(root, tmp_path):
    with serving(root) as server:
        for path in (server.url("set"), root / "set"):
            reader = ShardReader(load_index(path), PageCache(tmp_path))
            before = reader.read(3, "json")
            assert pickle.loads(pickle.dumps(reader)).read(3, "json") == before


def test_an_unwritable_cache_is_named(root, tmp_path):
    (tmp_path / "file").touch()
    with serving(root) as server:
        far = data(server.url("set"), tmp_path / "file")
        with pytest.raises(UserError, match=r"file: cannot be written \(Not a directory\)"):
            batches(far, 1)


def test_pages_damaged_by_a_crash_are_fetched_again(root, tmp_path):
    with serving(root) as server:
        first = batches(data(server.url("set"), tmp_path), 16)
        for page in (tmp_path / "pages").iterdir():
            os.truncate(page, 7)
        (tmp_path / "total").write_text("")
        assert_equal(batches(data(server.url("set"), tmp_path), 16), first)


def test_a_page_whose_bytes_changed_is_fetched_again(root, tmp_path):
    with serving(root) as server:
        first = batches(data(server.url("set"), tmp_path), 16)
        pages = list((tmp_path / "pages").iterdir())
        for page in pages:
            content = bytearray(page.read_bytes())
            content[len(content) // 2] ^= 1
            page.write_bytes(content)
        server.requests.clear()
        assert_equal(batches(data(server.url("set"), tmp_path), 16), first)
        assert sum("GET shard" in request for request in server.requests) == len(pages)
        server.requests.clear()
        assert_equal(batches(data(server.url("set"), tmp_path), 16), first)
        assert not any("shard" in request for request in server.requests)


def test_the_page_used_longest_ago_goes_first(tmp_path):
    cache = PageCache(tmp_path, cache_gb=56e-9, page_bytes=10)  # and 4 of a CRC
    fetched = []

    def read(key):
        cache.read(key, 10, 2, 5, lambda: fetched.append(key) or key.encode() * 10)
        time.sleep(0.002)

    for key in "abcdaea":  # four fit; b is the oldest when e comes
        read(key)
    assert fetched == ["a", "b", "c", "d", "e"]
    assert "b" not in os.listdir(tmp_path / "pages")
    assert {"a", "e"} <= set(os.listdir(tmp_path / "pages"))


def test_a_page_larger_than_the_cache_is_still_read(tmp_path):
    cache = PageCache(tmp_path, cache_gb=5e-9, page_bytes=10)
    assert cache.read("a", 10, 2, 5, lambda: b"0123456789") == b"234"
    assert not (tmp_path / "pages").exists()


def test_s3_gives_what_the_folder_gives(root, tmp_path, monkeypatch):
    s3fs = pytest.importorskip("s3fs")
    (tmp_path / "s3" / "bucket").mkdir(parents=True)
    (tmp_path / "s3" / "bucket" / "music").symlink_to(root)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with serving(tmp_path / "s3") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url())
        s3fs.S3FileSystem.clear_instance_cache()
        for num_workers in (0, 2):
            far = data("s3://bucket/music/set/", tmp_path / str(num_workers),
                       num_workers=num_workers, shuffle_shards=0)  # fmt: skip
            assert_equal(batches(far, 16), batches(data(root / "set", tmp_path), 16))
        assert "HEAD shard-000000.tar" in server.requests
        with pytest.raises(UserError, match="no such file"):
            data("s3://bucket/none", tmp_path)
    s3fs.S3FileSystem.clear_instance_cache()


def test_what_no_waiting_mends_is_not_tried_again():
    calls = []

    def attempt():
        calls.append(1)
        raise ValueError("no port")

    with pytest.raises(UserError, match=r"^u: cannot be read \(no \w+\); mend the address$"):
        remote.retrying("u", attempt)
    assert len(calls) == 1


def test_an_address_that_is_none_is_refused_at_once(tmp_path, caplog):
    with pytest.raises(UserError, match="mend the address") as caught:
        data("http://[/set", tmp_path)
    assert "\n" not in str(caught.value)
