"""The named data sets: balance, nesting, noise, augmentation, and damaged files."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from fswidget.training import datasets, registry
from fswidget.training.config import Config

ROOT = os.environ.get("FSWIDGET_DATA")
needs_files = pytest.mark.skipif(
    ROOT is None, reason="FSWIDGET_DATA names no folder with data sets"
)


def rows(inputs: torch.Tensor) -> set[bytes]:
    return {row.numpy().tobytes() for row in inputs}


def test_subsets_are_nested_and_balanced() -> None:
    targets = torch.tensor([0] * 50 + [1] * 30 + [2] * 5)
    order = datasets.balanced_order(targets, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(85))
    for size in (3, 9, 15):
        assert torch.bincount(targets[order[:size]]).tolist() == [size // 3] * 3
    # Where a class runs out the others go on in turn.
    assert torch.bincount(targets[order[:25]]).tolist() == [10, 10, 5]


def test_smaller_training_sets_are_part_of_larger_ones() -> None:
    small = datasets.load(Config(dataset="teacher", loss="mse", train_size=50)).targets
    large = datasets.load(Config(dataset="teacher", loss="mse", train_size=100)).targets
    # Standardising shifts and scales: correlation stays exactly one.
    correlation = torch.corrcoef(torch.stack([small[:, 0], large[:50, 0]]))[0, 1]
    assert float(correlation) == pytest.approx(1, abs=1e-5)
    digits = datasets.load(Config(train_size=500)), datasets.load(Config(train_size=1000))
    assert torch.equal(digits[0].targets, digits[1].targets[:500])
    assert np.array_equal(digits[0].images, digits[1].images[:500])


def test_digits_are_those_of_scikit_learn_as_it_splits_them() -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = np.round(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    parts = train_test_split(images, labels, test_size=360, stratify=labels, random_state=0)
    kept = registry.sources["digits"].read(Config())
    assert [part.dtype for part in kept] == [torch.uint8, torch.int64, torch.uint8, torch.int64]
    for one, place in zip(kept, (0, 2, 1, 3), strict=True):
        assert np.array_equal(one, parts[place])


def test_the_probe_is_the_balanced_beginning() -> None:
    loaded = datasets.load(Config(width=8, train_size=1200))
    assert loaded.probe_size == 1000
    assert torch.bincount(loaded.targets[:1000]).tolist() == [100] * 10
    assert loaded.images is not None
    assert loaded.images.shape == (1000, 8, 8)
    assert datasets.load(Config(width=300, train_size=1200)).probe_size == 1200
    assert datasets.load(Config(probe_size=50)).probe_size == 50


def test_training_and_test_samples_are_disjoint() -> None:
    loaded = datasets.load(Config(train_size=1437))
    assert not rows(loaded.inputs) & rows(loaded.test_inputs)
    pairs = datasets.load(
        Config(model="transformer", dataset="modular", modulus=7, train_fraction=0.6)
    )
    assert len(pairs.inputs) == 29
    assert len(pairs.test_inputs) == 20
    assert not rows(pairs.inputs) & rows(pairs.test_inputs)


def test_outputs_of_the_teacher_are_independent() -> None:
    for outputs in (1, 8, 20):
        config = Config(dataset="teacher", loss="mse", num_targets=outputs)
        values = torch.linalg.svdvals(datasets.load(config).targets)
        assert float(values[-1] / values[0]) > 0.02


def test_inputs_are_standardised() -> None:
    loaded = datasets.load(Config(dataset="teacher", loss="mse"))
    for values in (loaded.inputs, loaded.targets):
        torch.testing.assert_close(values.mean(0), torch.zeros(values.shape[1]), atol=1e-5, rtol=0)
        torch.testing.assert_close(values.std(0, correction=0), torch.ones(values.shape[1]))
    halved = datasets.load(Config(dataset="teacher", loss="mse", target_scale=0.5))
    torch.testing.assert_close(halved.targets, loaded.targets / 2)


def test_label_noise_keeps_the_counts() -> None:
    clean = datasets.load(Config()).targets
    for noise, moved in ((0.0, 0.0), (0.3, 0.27), (1.0, 0.9)):
        noisy = datasets.load(Config(label_noise=noise)).targets
        assert torch.equal(torch.bincount(noisy), torch.bincount(clean))
        assert float((noisy != clean).float().mean()) == pytest.approx(moved, abs=0.05)


def test_labels_are_written_in_the_first_row() -> None:
    images = torch.full((3, 1, 7, 7), 5, dtype=torch.uint8)
    written = datasets.write_labels(images, torch.tensor([0, 2, 1]), 3)
    lit = (written[:, 0, 0] == 255).int().tolist()
    assert lit == [[1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 0], [0, 0, 1, 1, 0, 0, 0]]
    assert torch.equal(written[:, :, 1:], images[:, :, 1:])
    assert int(images[0, 0, 0, 0]) == 5


def test_clothes_are_called_what_torchvision_calls_them() -> None:
    # They are written down here, so that torchvision is imported by who uses it alone.
    from torchvision.datasets import FashionMNIST

    assert list(registry.sources["fashion_mnist"].class_names) == FashionMNIST.classes


@needs_files
def test_written_labels_mislead_at_test_time() -> None:
    assert ROOT is not None
    config = Config(dataset="mnist", root=ROOT, train_size=500, label_pixels=True)
    loaded = datasets.load(config)
    for inputs, targets, share in (
        (loaded.inputs, loaded.targets, 1.0),
        (loaded.test_inputs, loaded.test_targets, 0.1),
    ):
        read = inputs[:, 0, 0].argmax(1) // 2
        assert float((read == targets).float().mean()) == pytest.approx(share, abs=0.05)


def test_augmentation_is_a_crop_and_a_flip_of_each_sample() -> None:
    from torchvision.transforms import v2

    images = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    changed = datasets.augment(images, torch.Generator().manual_seed(1))
    assert torch.equal(changed, datasets.augment(images, torch.Generator().manual_seed(1)))
    found = set()
    for before, after in zip(images, changed, strict=True):
        padded = v2.functional.pad(before, [4])
        views = {}
        for top in range(9):
            for left in range(9):
                crop = v2.functional.crop(padded, top, left, 8, 8)
                views[top, left, False] = crop
                views[top, left, True] = v2.functional.horizontal_flip(crop)
        matches = [key for key, view in views.items() if torch.equal(view, after)]
        assert matches
        found.add(matches[0])
    assert len(found) > 40
    assert {flip for *_, flip in found} == {False, True}


@pytest.mark.parametrize(
    ("operation", "check"),
    [
        ("add", lambda a, b, c: (a + b - c) % 7),
        ("subtract", lambda a, b, c: (a - b - c) % 7),
        ("multiply", lambda a, b, c: (a * b - c) % 7),
        ("divide", lambda a, b, c: (c * b - a) % 7),
    ],
)
def test_modular_arithmetic(operation: str, check: object) -> None:
    config = Config(model="transformer", dataset="modular", modulus=7, operation=operation)
    loaded = datasets.load(config)
    tokens = torch.cat([loaded.inputs, loaded.test_inputs])
    answers = torch.cat([loaded.targets, loaded.test_targets])
    assert len(tokens) == (42 if operation == "divide" else 49)
    assert not check(tokens[:, 0], tokens[:, 2], answers).any()  # type: ignore[operator]
    assert (tokens[:, 1] == 7).all()
    assert (tokens[:, 3] == 8).all()


def test_loading_leaves_the_global_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    datasets.load(Config(label_noise=0.5))
    datasets.load(Config(dataset="teacher", loss="mse"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100"])
def test_missing_files_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load(Config(dataset=name, root=str(tmp_path)))
    message = str(caught.value)
    assert message.startswith(f"root={str(tmp_path)!r}: {name} is not there")
    assert "download=True" in message


def test_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"california is not there.*download=True"):
        datasets.load(Config(dataset="california", loss="mse", root=str(tmp_path)))


@needs_files
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte"),
        ("mnist", "MNIST/raw/t10k-labels-idx1-ubyte"),
        ("cifar10", "cifar-10-batches-py/data_batch_3"),
    ],
)
def test_half_a_file_is_named(name: str, file: str, tmp_path: Path) -> None:
    assert ROOT is not None
    folder = Path(file).parts[0]
    for path in (Path(ROOT) / folder).rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(path)
    damaged = tmp_path / file
    content = damaged.read_bytes()
    damaged.unlink()
    damaged.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="damaged or only half downloaded") as caught:
        datasets.load(Config(dataset=name, root=str(tmp_path)))
    assert repr(str(damaged)) in str(caught.value)


@needs_files
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_real_pictures(name: str) -> None:
    assert ROOT is not None
    loaded = datasets.load(Config(dataset=name, root=ROOT, train_size=200, test_size=100))
    assert loaded.inputs.shape[1:] == registry.sources[name].shape
    assert torch.bincount(loaded.targets).tolist() == [20] * 10
    assert torch.bincount(loaded.test_targets).tolist() == [10] * 10
    assert float(loaded.inputs.mean()) == pytest.approx(0, abs=1e-4)


def test_cifar100_is_read_from_folders_of_pictures_too(tmp_path: Path) -> None:
    from PIL import Image

    for part, count in (("train", 3), ("test", 1)):
        for label in range(100):
            folder = tmp_path / "cifar100" / part / f"{label:02}"
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (32, 32), (label, index, 7)).save(folder / f"{index}.png")
    config = Config(dataset="cifar100", root=str(tmp_path), width=8)
    inputs, targets, test_inputs, test_targets = config.source.read(config)
    assert inputs.shape == (300, 3, 32, 32)
    assert inputs.dtype == torch.uint8
    assert torch.equal(inputs[:, 0, 0, 0].long(), targets)
    assert torch.equal(test_inputs[:, 0, 5, 5].long(), test_targets)
    assert inputs[:3, 1, 0, 0].tolist() == [0, 1, 2]
