"""The binary format that Python writes and TypeScript reads."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording
from fswidget.widget import codec
from tests.synthetic import make_frame, make_recording

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden.json"


def golden() -> dict[str, Any]:
    """What the fixture must hold; `python -m tests.unit.test_wire` writes it anew."""
    recording = make_recording(2, num_features=5, num_shown=4, num_layers=2)
    recording.provenance = {}  # of today's versions and date
    run, run_body = codec.encode_run(recording.info)
    headers, body, following = codec.encode_frames(recording)
    last = recording[-1]
    return {
        "run": run,
        "runBody": base64.b64encode(run_body).decode(),
        "frames": headers,
        "body": base64.b64encode(body).decode(),
        "next": following,
        # The compressed bytes depend on the zlib at hand; what they hold does not.
        "block": base64.b64encode(gzip.decompress(codec.pack(recording, "run-1"))).decode(),
        "expected": {
            "epochs": [frame.epoch for frame in recording],
            "loss": [frame.scalars["loss"] for frame in recording],
            "regimes": [frame.labels["regime"] for frame in recording],
            "eigenvalues": [float(value) for value in last.eigenvalues],
            "projections": [float(value) for value in last.projections.ravel()],
            "labels": [float(value) for value in recording.info.labels],
        },
    }


def decode(header: dict[str, Any], body: bytes) -> dict[str, np.ndarray]:
    """A second reader of the format, apart from the one in TypeScript."""
    arrays = {}
    for entry in header["layout"]:
        count = int(np.prod(entry["shape"]))
        start = header.get("offset", 0) + entry["offset"]
        assert start % 8 == 0
        flat = np.frombuffer(body, np.dtype(entry["dtype"]).newbyteorder("<"), count, start)
        arrays[entry["name"]] = flat.reshape(entry["shape"])
    return arrays


def test_golden_fixture_is_what_we_write() -> None:
    kept, ours = json.loads(GOLDEN.read_text()), golden()
    for side in (kept, ours):  # the sprite's length depends on the zlib at hand
        side["run"].pop("layout")
    assert kept["run"] == ours["run"]
    assert kept["frames"] == ours["frames"]
    assert kept["next"] == ours["next"]
    bodies = [base64.b64decode(side["body"]) for side in (kept, ours)]
    for header in ours["frames"]:
        left, right = (decode(header, body) for body in bodies)
        for name, array in right.items():
            # exp and pow may differ in the last bit between processors.
            np.testing.assert_allclose(
                left[name], array, rtol=1e-6, atol=int(array.dtype == np.int16)
            )
    for name, values in ours["expected"].items():
        expected = values if name == "regimes" else pytest.approx(values, rel=1e-6)
        assert kept["expected"][name] == expected


def test_frames_come_back() -> None:
    recording = make_recording(3)
    headers, body, following = codec.encode_frames(recording)
    assert following == 4
    assert [(header["seq"], header["previous"]) for header in headers] == [
        (0, -1),
        (1, 0),
        (2, 1),
        (3, 2),
    ]
    for header, frame in zip(headers, recording, strict=True):
        arrays = decode(header, body)
        expected = [frame.epoch, frame.step, *frame.scalars.values()]
        np.testing.assert_array_equal(arrays["scalars"], expected)
        np.testing.assert_array_equal(arrays["eigenvalues"], frame.eigenvalues)
        values = arrays["projections"] * arrays["projections:scale"]
        tolerance = np.abs(frame.projections).max() / 65000
        np.testing.assert_allclose(values, frame.projections, atol=tolerance)


def test_batches_respect_the_byte_limit_and_lose_nothing() -> None:
    recording = make_recording(20)
    numbers, start = [], 0
    while start < recording.appended:
        headers, body, start = codec.encode_frames(recording, start, max_bytes=4000)
        assert len(headers) == 1 or len(body) < 8000
        numbers += [header["seq"] for header in headers]
    assert numbers == list(range(21))


def test_a_thinned_frame_is_told_from_a_lost_one() -> None:
    recording = make_recording(9)
    thin = recording.thinned(5 * recording[0].nbytes)
    headers, _, following = codec.encode_frames(thin)
    numbers = [header["seq"] for header in headers]
    assert len(numbers) <= 5
    assert [header["previous"] for header in headers] == [-1, *numbers[:-1]]
    assert following == 10


def test_nothing_to_send() -> None:
    recording = make_recording(1)
    assert codec.encode_frames(recording, start=2) == ([], b"", 2)
    assert codec.encode_frames(Recording(recording.info)) == ([], b"", 0)


def test_headers_are_json_even_with_nan() -> None:
    frame = make_frame(0)
    assert np.isnan(frame.scalars["nc1"])
    header, _ = codec.encode_frame(frame, 0, -1)
    json.dumps(header, allow_nan=False)


def unpack(packed: bytes) -> tuple[dict[str, Any], list[dict[str, np.ndarray]]]:
    """A second reader of packed recordings: the header, and the arrays of each frame."""
    block = gzip.decompress(packed)
    assert block[:4] == b"FSW1"
    (length,) = struct.unpack("<I", block[4:8])
    header = json.loads(block[8 : 8 + length])
    body = block[8 + length :]
    frames: list[dict[str, np.ndarray]] = []
    for frame in header["frames"]:
        arrays = decode(frame, body)
        for entry in frame["layout"]:
            if entry.get("delta"):
                arrays[entry["name"]] = arrays[entry["name"]] + frames[-1][entry["name"]]
        frames.append(arrays)
    np.testing.assert_array_equal(
        decode(header["info"], body)["labels"], np.arange(len(frames[0]["predictions"])) % 4
    )
    return header, frames


def assert_cloud(arrays: dict[str, np.ndarray], expected: np.ndarray, largest: np.ndarray) -> None:
    steps = arrays["projections"]
    np.testing.assert_array_equal(steps == -32768, ~np.isfinite(expected))
    values = np.where(steps == -32768, np.nan, steps * arrays["projections:scale"])
    wanted = np.where(np.isfinite(expected), expected, np.nan)
    assert np.nanmax(np.abs(values - wanted) / largest) <= 0.51 / 1023


def test_pack_rounds_curves_and_clouds_and_keeps_scalars() -> None:
    recording = make_recording(6)
    packed = codec.pack(recording, "r")
    assert packed == codec.pack(recording, "r")
    header, frames = unpack(packed)
    assert header["run"] == "r"
    largest = np.max([np.abs(frame.projections).max(axis=0) for frame in recording], axis=0)
    for arrays, frame in zip(frames, recording, strict=True):
        np.testing.assert_array_equal(arrays["scalars"][2:], list(frame.scalars.values()))
        np.testing.assert_array_equal(arrays["predictions"], frame.arrays["predictions"])
        np.testing.assert_allclose(arrays["eigenvalues"], frame.eigenvalues, rtol=1.25e-4)
        assert_cloud(arrays, frame.projections, largest)


def test_pack_keeps_clouds_that_come_and_go() -> None:
    source = make_recording(5)
    recording = Recording(source.info)
    for index, frame in enumerate(source):
        arrays = {name: np.array(array) for name, array in frame.arrays.items()}
        arrays["projections"][index] = [np.nan, np.inf, -np.inf]
        if index == 2:
            del arrays["projections"]
        recording.append(dataclasses.replace(frame, arrays=arrays))
    _, frames = unpack(codec.pack(recording, "r"))
    assert "projections" not in frames[2]
    finite = [f.projections for f in recording if "projections" in f.arrays]
    largest = np.max([np.nanmax(np.where(np.isfinite(c), abs(c), 0), axis=0) for c in finite], 0)
    for arrays, frame in zip(frames, recording, strict=True):
        if "projections" in frame.arrays:
            assert_cloud(arrays, frame.projections, largest)


def test_pack_takes_clouds_of_changing_shape() -> None:
    recording = make_recording(1)
    recording.append(make_frame(2, num_eigenfunctions=5))
    header, frames = unpack(codec.pack(recording, "r"))
    assert not any(entry.get("delta") for frame in header["frames"] for entry in frame["layout"])
    for arrays, frame in zip(frames, recording, strict=True):
        assert_cloud(arrays, frame.projections, np.abs(frame.projections).max(axis=0))


def test_pack_of_slow_clouds_is_small() -> None:
    random = np.random.default_rng(0)
    cloud = random.normal(size=(1000, 8))
    recording = Recording(make_recording(0).info)
    for epoch in range(20):
        cloud = cloud + 0.01 * random.normal(size=cloud.shape)
        recording.append(Frame(epoch=epoch, step=epoch, scalars={}, arrays={"projections": cloud}))
    bytes_a_frame = len(codec.pack(recording, "r")) / 20
    assert bytes_a_frame < 0.55 * cloud.size * 2


@pytest.mark.parametrize("shape", [(7, 4, 5), (1, 8, 8), (10, 8, 8, 3)])
def test_sprite_holds_every_picture_in_its_tile(shape: tuple[int, ...]) -> None:
    smooth = np.linspace(0, 255, num=int(np.prod(shape[:3]))).reshape(shape[:3])
    pictures = smooth if len(shape) == 3 else np.stack([smooth] * 3, axis=-1)
    thumbnails = pictures.astype(np.uint8)
    sprite, content = codec.encode_sprite(thumbnails)
    image = np.asarray(Image.open(io.BytesIO(content))).astype(int)
    height, width = sprite["height"], sprite["width"]
    for index, expected in enumerate(thumbnails):
        row, column = divmod(index, sprite["columns"])
        tile = image[row * height : (row + 1) * height, column * width : (column + 1) * width]
        assert np.abs(tile - expected).max() <= (0 if len(shape) == 3 else 12)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
def test_quantized_values_stay_within_half_a_step(values: np.ndarray) -> None:
    steps, scale = codec.quantize(values)
    finite = np.isfinite(values)
    assert (steps[~finite] == -32768).all()
    assert (steps[finite] != -32768).all()
    back = steps.astype(np.float64) * scale
    half_a_step = np.broadcast_to(scale.astype(np.float64) * 0.51, values.shape)
    # A column so small that its factor underflows shows as zero.
    half_a_step = np.maximum(half_a_step, np.float64(np.finfo(np.float32).tiny))
    assert (np.abs(back - values)[finite] <= half_a_step[finite]).all()


def test_frame_of_the_reference_size_is_small() -> None:
    frame = make_frame(1, num_features=512, num_shown=2000, num_eigenfunctions=8)
    header, body = codec.encode_frame(frame, 0, -1)
    assert len(body) + len(json.dumps(header)) <= 60_000


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "uint8"])
def test_every_dtype_travels(dtype: str) -> None:
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    layout, body = codec.encode_arrays({"a": array, "b": array})
    np.testing.assert_array_equal(decode({"layout": layout}, body)["b"], array)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), indent=1) + "\n")
