"""The experiments whose numbers the paper tabulates."""

from __future__ import annotations

from fswidget.experiments.recipe_parts import (
    D_LR,
    DESK,
    FULL,
    MNIST,
    MNIST_AT_DESK,
    MNIST_FULL,
    OTHERS,
    RESNET,
    RESNET_AT_DESK,
    TEST,
    TRAIN,
    VGG,
    VGG_ADAM,
    VGG_AT_DESK,
    arm_of,
    at_desk,
    recipe,
)
from fswidget.experiments.results import Check
from fswidget.training.config import Config

_RICH = MNIST_AT_DESK.replace(label_pixels=True)
recipe(
    "rich_is_not_better",
    "MNIST with the label in the pixels: rich against lazy",
    "A richer network can generalise worse: it takes the shortcut that a lazy one overlooks.",
    arms={
        "rich": arm_of(MNIST, MNIST_FULL, "D_LR .0087 at 10.0%", desk=_RICH),
        "lazy": arm_of(
            MNIST,
            MNIST_FULL,
            "D_LR .63 at 74.4%",
            desk=_RICH.replace(last_layer_only=True),
            last_layer_only=True,
        ),
    },
    checks=(
        Check("rich: D_LR ≤ 0.05", lambda r: r.mean("rich", D_LR) <= 0.05),
        Check("rich: test accuracy ≤ 15%", lambda r: r.mean("rich", TEST) <= 0.15),
        Check(
            "lazy: D_LR at least ten times that of rich",
            lambda r: r.mean("lazy", D_LR) >= 10 * r.mean("rich", D_LR),
        ),
        Check("lazy: test accuracy ≥ 65%", lambda r: r.mean("lazy", TEST) >= 0.65),
    ),
    note="The paper's way of writing the label is not known to us. We light one of ten equal parts "
    "of the first row, and write a random class into test pictures. At the desk the last layer "
    "alone finds the shortcut too, if it is given time: 70% after the first epoch, 60% after the "
    "second, 49% after ten, while D_LR stays where it was (.52 to .57). The paper's 74.4% is that "
    "of a shorter training, or of a label that is harder to see.",
)


_TEN_THOUSAND = ("10,000 true labels", "10,000 shuffled labels")

# Neither augmentation nor decay: what has no rule must be learned by heart.
_BY_HEART = RESNET_AT_DESK.replace(
    train_size=10_000, augment=False, weight_decay=0.0, epochs=60, warmup_steps=200
)
recipe(
    "shuffled_labels",
    "CIFAR-10, ResNet18: true against fully shuffled labels",
    "Rich features do not mean that anything general was learned: on shuffled labels D_LR is "
    "almost the same.",
    arms={
        "true labels": arm_of(RESNET, FULL, "D_LR .031 at 95.0%", desk=RESNET_AT_DESK, lr=0.05),
        "shuffled labels": arm_of(RESNET, FULL, "D_LR .034 at 9.5%", lr=0.05, label_noise=1.0),
        "10,000 true labels": at_desk(_BY_HEART),
        "10,000 shuffled labels": at_desk(
            _BY_HEART.replace(label_noise=1.0), "D_LR .034 at 9.5% (of 50,000)"
        ),
    },
    checks=(
        Check(
            "D_LR differs by at most 0.05",
            lambda r: abs(r.mean("true labels", D_LR) - r.mean("shuffled labels", D_LR)) <= 0.05,
            OTHERS,
        ),
        Check(
            "shuffled: test accuracy within 5 points of chance",
            lambda r: abs(r.mean("shuffled labels", TEST) - 0.1) <= 0.05,
            OTHERS,
        ),
        Check(
            "true: test accuracy at least twice that of shuffled",
            lambda r: r.mean("true labels", TEST) >= 2 * r.mean("shuffled labels", TEST),
            OTHERS,
        ),
        Check("all true labels: test ≥ 88%", lambda r: r.mean("true labels", TEST) >= 0.88, DESK),
        Check("all true labels: D_LR ≤ 0.05", lambda r: r.mean("true labels", D_LR) <= 0.05, DESK),
        Check(
            "10,000 labels, true or shuffled: training accuracy ≥ 95%",
            lambda r: min(r.mean(arm, TRAIN) for arm in _TEN_THOUSAND) >= 0.95,
            DESK,
        ),
        Check(
            "10,000 labels: D_LR differs by at most 0.02 at the end",
            lambda r: abs(r.mean(_TEN_THOUSAND[0], D_LR) - r.mean(_TEN_THOUSAND[1], D_LR)) <= 0.02,
            DESK,
        ),
        Check(
            "10,000 labels: D_LR differs by at most 0.05 where the training loss is 0.05",
            lambda r: (
                abs(
                    r.mean_at_loss(_TEN_THOUSAND[0], D_LR, 0.05)
                    - r.mean_at_loss(_TEN_THOUSAND[1], D_LR, 0.05)
                )
                <= 0.05
            ),
            DESK,
        ),
        Check(
            "10,000 shuffled labels: test accuracy within 2 points of chance",
            lambda r: abs(r.mean(_TEN_THOUSAND[1], TEST) - 0.1) <= 0.02,
            DESK,
        ),
    ),
    note="At the desk the values are the paper's: .026 with all true labels where it has .031, and "
    ".030 against .028 with 10,000 shuffled and 10,000 true labels where it has .034 against .031. "
    "Shuffled labels keep D_LR above .5 for as long as nothing fits, and it falls with the loss.",
)


def _richer_and_better(name: str, end: str) -> Check:
    return Check(
        f"{name}: D_LR is lower with batch normalisation, test accuracy higher",
        lambda r: (
            r.mean(f"with, {end}", D_LR) < r.mean(f"without, {end}", D_LR)
            and r.mean(f"with, {end}", TEST) > r.mean(f"without, {end}", TEST)
        ),
        DESK,
    )


_VGG100 = VGG_AT_DESK.replace(dataset="cifar100")
_VGG100_ENTROPY = _VGG100.replace(loss="cross_entropy")
recipe(
    "batchnorm",
    "VGG16 without and with batch normalisation",
    "Batch normalisation makes a deep convolutional network rich, and better.",
    arms={
        "without, SGD": arm_of(
            VGG, {**FULL, "dataset": "cifar100"}, "D_LR .66 at 21.7%", desk=_VGG100_ENTROPY
        ),
        "with, SGD": arm_of(
            VGG,
            {**FULL, "dataset": "cifar100"},
            "D_LR .073 at 72.0%",
            desk=_VGG100_ENTROPY.replace(batchnorm=True),
            batchnorm=True,
        ),
        "without, Adam, squared error": arm_of(VGG_ADAM, {**FULL, "dataset": "cifar100"}),
        "with, Adam, squared error": arm_of(
            VGG_ADAM, {**FULL, "dataset": "cifar100"}, batchnorm=True
        ),
        # Targets of length 10, as Hui and Belkin (2021) rescale them for many classes: those of
        # length 1 are small beside the first outputs of a hundred units.
        **{
            f"{name}, SGD, squared error": at_desk(
                _VGG100.replace(batchnorm=norm, target_scale=10.0, lr=0.005)
            )
            for name, norm in (("without", False), ("with", True))
        },
        "with, SGD at 0.02, squared error": at_desk(
            _VGG100.replace(batchnorm=True, target_scale=10.0, lr=0.02)
        ),
        **{
            f"{name}, SGD, squared error, CIFAR-10": at_desk(
                VGG_AT_DESK.replace(batchnorm=norm, lr=0.1, epochs=20)
            )
            for name, norm in (("without", False), ("with", True))
        },
        "with, SGD at 0.02, squared error, CIFAR-10": at_desk(
            VGG_AT_DESK.replace(batchnorm=True, lr=0.02, epochs=20)
        ),
    },
    checks=(
        Check(
            "SGD: D_LR with batch normalisation at most half of that without",
            lambda r: r.mean("with, SGD", D_LR) <= 0.5 * r.mean("without, SGD", D_LR),
        ),
        _richer_and_better("CIFAR-100, cross-entropy", "SGD"),
        _richer_and_better("CIFAR-100, squared error", "SGD, squared error"),
        _richer_and_better("CIFAR-10, squared error", "SGD, squared error, CIFAR-10"),
        Check(
            "CIFAR-10, squared error: at a rate of 0.1 D_LR is at most a tenth of that at 0.02",
            lambda r: (
                r.mean("with, SGD, squared error, CIFAR-10", D_LR)
                <= 0.1 * r.mean("with, SGD at 0.02, squared error, CIFAR-10", D_LR)
            ),
            DESK,
        ),
        Check(
            "SGD: test accuracy is higher with batch normalisation",
            lambda r: r.mean("with, SGD", TEST) > r.mean("without, SGD", TEST),
        ),
        Check(
            "Adam, squared error: D_LR with batch normalisation at most half of that without",
            lambda r: (
                r.mean("with, Adam, squared error", D_LR)
                <= 0.5 * r.mean("without, Adam, squared error", D_LR)
            ),
            OTHERS,
        ),
    ),
    note="The paper trains on CIFAR-100; the laptop size on CIFAR-10, 500 pictures with SGD and "
    "cross-entropy, 1,000 with Adam and squared error. Where it disagrees: the optimiser decides. "
    "SGD hardly gets the network without normalisation going (58% of the training set right in "
    "250 steps), which keeps it close to its initial features. Adam trains it to the end, and it "
    "ends rich; with normalisation Adam leaves a strong direction that the outputs do not use (the "
    "second eigenvalue is 4 to 11 times the third), so D_LR is high although k95 is about C. In "
    "this size the difference that batch normalisation makes is whether the network trains. At the "
    "desk it is CIFAR-100 itself. There the loss decides: with cross-entropy D_LR stays above .4 "
    "in both arms however well they test (67% and 58%); with squared error it falls to .10 to .13 "
    "with batch normalisation, near the paper's .073, and to .22 without. The arm without passes "
    "the paper's 21.7% on its way, at D_LR .62 with cross-entropy, where the paper has .66, and at "
    ".48 with squared error, and trains further. Squared error wants care: with "
    "targets of length 1 the loss stayed at .99 in trials of six epochs on 10,000 pictures (rates "
    ".005 and .05, p = 64); the arms here have targets ten times as long. On CIFAR-10 the rate "
    "decides: .1 gives .008, .02 gives .48 at nearly the same accuracy, with 57% of the "
    "trace in the first two eigenvalues instead of 24%.",
)


_RATES = {0.005: "D_LR .053 at 66.3%", 0.05: "D_LR .025 at 78.3%", 0.2: "D_LR .039 at 74.5%"}
recipe(
    "learning_rate",
    "ResNet18 over the learning rate",
    "D_LR against the learning rate has its minimum at the rate that generalises best.",
    arms={
        f"lr {rate:g}": arm_of(
            RESNET,
            {**FULL, "dataset": "cifar100"},
            reported,
            desk=RESNET_AT_DESK.replace(
                dataset="cifar100", loss="cross_entropy", epochs=20, lr=rate
            ),
            lr=rate,
        )
        for rate, reported in _RATES.items()
    }
    | {
        "lr 0.02, squared error": at_desk(
            RESNET_AT_DESK.replace(dataset="cifar100", target_scale=10.0, epochs=20, lr=0.02)
        )
    },
    checks=(
        Check(
            "the lowest D_LR is that of the middle rate",
            lambda r: r.mean("lr 0.05", D_LR) < min(r.mean(f"lr {x}", D_LR) for x in (0.005, 0.2)),
        ),
        Check(
            "the lowest D_LR and the highest test accuracy are at the same rate",
            lambda r: (
                min(_RATES, key=lambda x: r.mean(f"lr {x:g}", D_LR))
                == max(_RATES, key=lambda x: r.mean(f"lr {x:g}", TEST))
            ),
        ),
    ),
    note="The paper trains on CIFAR-100; the laptop size on 500 pictures of CIFAR-10. The smallest "
    "rate is far lazier and worse, as in the paper. The two larger rates differ by less than the "
    "spread over seeds in D_LR, and by less than 500 test pictures can tell apart (two points) in "
    "accuracy. At the desk, on all of CIFAR-100 with cross-entropy for 20 epochs, the best test "
    "accuracy and the lowest D_LR are both at .2, not at .05: the two go together, as the paper "
    "says, but the U has not turned yet. D_LR is ten times the paper's, as in all our runs with "
    "cross-entropy and 100 classes in 128 features. The loss decides here, too: with the squared "
    "error (targets of length 10, a rate of .02, one seed) it is .17 at 56%, although that run has "
    "fitted less of its training set (66% right, against 73% and 77%).",
)


_GROKKING = Config(
    model="transformer",
    dataset="modular",
    width=128,
    optimizer="adamw",
    beta2=0.98,
    warmup_steps=10,
    batch_size=512,
    epochs=400,
    max_steps=3000,
    probe_size=4656,
    test_size=4656,
    frame_every=100,
)
_SQUARED = _GROKKING.replace(loss="mse", weight_decay=0.5, probe_size=4704, test_size=4705)
recipe(
    "grokking",
    "Grokking modular arithmetic: a transformer learns to generalise long after it memorised",
    "Grokking shows as a fall of D_LR, if loss and head are the paper's.",
    arms={
        "squared error, addition": arm_of(
            _GROKKING,
            {},
            "D_LR .51 at 5.2% (step 200) → .11 at 99.8% (3,000)",
            desk=_SQUARED.replace(
                epochs=1000, max_steps=10_000, frame_every=200, num_shown=100, num_eigenfunctions=4
            ),
            loss="mse",
            weight_decay=0.5,
            probe_size=4704,
            test_size=4705,
        ),
        "cross-entropy, division": arm_of(
            _GROKKING, {}, operation="divide", weight_decay=1.0, final_norm=True
        ),
    },
    checks=(
        Check(
            "squared error: test accuracy ≥ 99% within 3,000 steps",
            lambda r: r.mean("squared error, addition", TEST, step=3000) >= 0.99,
        ),
        Check(
            "squared error: D_LR at the end at most half of that at step 200",
            lambda r: (
                r.mean("squared error, addition", D_LR)
                <= 0.5 * r.mean("squared error, addition", D_LR, step=200)
            ),
        ),
        Check(
            "squared error: D_LR falls by at least a quarter from its highest value",
            lambda r: (
                r.mean("squared error, addition", D_LR)
                <= 0.75 * r["squared error, addition"][0].table()[D_LR].max()
            ),
        ),
        Check(
            "cross-entropy: test accuracy ≥ 99% within 3,000 steps",
            lambda r: r.mean("cross-entropy, division", TEST) >= 0.99,
            OTHERS,
        ),
        Check(
            "cross-entropy: D_LR falls too",
            lambda r: (
                r.mean("cross-entropy, division", D_LR)
                < r.mean("cross-entropy, division", D_LR, step=200)
            ),
            OTHERS,
        ),
    ),
    note="Loss, steps and weight decay decide; the paper's head, loss scale and decay are not "
    "known to us. Squared error: D_LR peaks (.60 at step 1,400) where the test accuracy jumps "
    "to 91% and falls from there, as the paper says of grokking; at step 200 nothing is "
    "learned yet (training accuracy 1%), so that frame says little. The outputs span 97 of "
    "128 dimensions, and D_LR falls only as fast as the 97 leading eigenvalues become equal. "
    "That takes steps: long after the test accuracy is at 100%, D_LR is still .40 at step "
    "3,000, at an effective rank of 62; at the desk it is .14 to .30 at step 4,400 "
    "(three seeds, rank 73 to 87), .13 to .19 at 6,800 and .11 to .14 at 10,000 (84 to 88), "
    "where the paper has .51 and .11. And it takes "
    "a decay that leaves all directions: in a trial with 1 in place of .5 (one seed, 2,100 "
    "steps) the network generalises as soon, but D_LR then rises from .47 to .59 while the "
    "effective rank falls from 49 to 40: few features carry all outputs. So with "
    "cross-entropy, too: D_LR rises through grokking, from .32 to .60, the effective rank falls "
    "from 62 to 17, and 15 eigenvalues stand out (a few Fourier features), but the span of "
    "the logits keeps rank 96, and D_LR compares with that.",
    seeds=1,
)
