"""Writing beside training: in order, one of a kind at a time, no error lost, and files that everybody reads."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from sidestep_tui.engine.writer import Writer, on_host, write_tensors

TENSORS = {
    "matrix": torch.randn(3, 4),
    "half": torch.randn(2, 2).half(),
    "brain": torch.randn(5).bfloat16(),
    "step": torch.tensor(3),
    "number": torch.tensor(1.5),
    "nothing": torch.zeros(0, 3),
    "bytes": torch.arange(7, dtype=torch.uint8),
    'odd "näme"': torch.tensor([True, False]),
    "turned": torch.randn(2, 3).t(),
}


def fail() -> None:
    raise OSError("no room")


def test_a_file_reads_back_as_it_was_and_holds_what_the_library_would_write(tmp_path: Path) -> None:
    path = tmp_path / "tensors.safetensors"
    write_tensors(path, TENSORS, {"b": "2", "a": "1"})
    read = load_file(path)
    assert set(read) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(read[name], tensor)
    with safe_open(path, framework="pt") as handle:
        assert handle.metadata() == {"a": "1", "b": "2"}
    library = save({name: tensor.contiguous() for name, tensor in TENSORS.items()})
    bodies = [data[8 + int.from_bytes(data[:8], "little") :] for data in (path.read_bytes(), library)]
    assert bodies[0] == bodies[1]


def test_copies_on_the_host_stay_as_they_were() -> None:
    weights = torch.ones(3)
    copies = on_host({"weights": weights})
    weights.add_(1.0)
    assert copies["weights"].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_copies_from_a_gpu_are_whole_and_page_locked() -> None:
    weights = torch.arange(1_000_000, device="cuda", dtype=torch.float32)
    copies = on_host({"weights": weights, "step": torch.tensor(3.0)})
    weights.zero_()
    assert copies["weights"].is_pinned()
    assert torch.equal(copies["weights"], torch.arange(1_000_000, dtype=torch.float32))


def test_jobs_of_one_kind_wait_for_each_other_and_the_caller_for_none() -> None:
    writer = Writer(background=True)
    begun, may_go, told = threading.Event(), threading.Event(), []

    def first() -> None:
        begun.set()
        may_go.wait(10)
        told.append("first")

    writer.submit("checkpoint", first)
    assert begun.wait(10)
    assert told == []  # the caller goes on while the job runs
    threading.Timer(0, may_go.set).start()
    writer.submit("checkpoint", lambda: told.append("second"))  # returns when the first is done
    assert told[0] == "first"
    writer.wait()
    assert told == ["first", "second"]
    assert writer.close() is None


def test_what_went_wrong_is_raised_once_where_it_is_asked_for() -> None:
    writer = Writer(background=True)
    writer.submit("checkpoint", fail)
    with pytest.raises(OSError, match="no room"):
        writer.wait()
    writer.wait()
    writer.submit("checkpoint", fail)
    with pytest.raises(OSError, match="no room"):
        writer.submit("checkpoint", lambda: None)
    writer.submit("best", fail)
    writer.wait("checkpoint")
    error = writer.close()
    assert isinstance(error, OSError)


def test_a_failure_shows_at_the_next_look_that_waits_for_nothing() -> None:
    writer = Writer(background=True)
    may_go, gone = threading.Event(), threading.Event()

    def slow() -> None:
        may_go.wait(10)

    writer.submit("checkpoint", slow)
    writer.check()  # still busy: says nothing
    may_go.set()
    writer.wait()
    writer.submit("checkpoint", fail)
    writer.submit("best", gone.set)  # behind it in the same thread
    assert gone.wait(10)
    with pytest.raises(OSError, match="no room"):
        writer.check()
    writer.close()


def test_in_the_foreground_a_job_is_done_at_once() -> None:
    writer = Writer(background=False)
    told: list[str] = []
    writer.submit("checkpoint", lambda: told.append("done"))
    assert told == ["done"]
    with pytest.raises(OSError, match="no room"):
        writer.submit("checkpoint", fail)
    assert writer.close() is None
