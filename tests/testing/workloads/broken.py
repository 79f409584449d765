"""Workloads with one fault each; the right one is `Right`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from lrtrain import Classification, Dataset, Defaults, Doc, Headline, PositiveInt, Regression, Split, Workload

RATES = Defaults(epochs=1, batch_size=16, loss_reduction="mean", learning_rate=0.1)


def points(count: int = 96, seed: int = 0) -> Split:
    """Returns points in three classes, by the larger coordinate."""
    inputs = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    return Split(inputs, np.argmax(inputs, axis=1).astype(np.int32))


def data_of(train: Split, test: Split | None = None) -> Dataset:
    return Dataset("points", "1", train, test or points(24, 1), num_classes=3)


@dataclass(frozen=True, kw_only=True)
class Right(Classification):
    """Points, and one linear layer."""

    defaults: ClassVar[Defaults] = RATES
    width: Annotated[PositiveInt, Doc("neurons of the hidden layer")] = 4

    def data(self, context: Any) -> Any:
        return data_of(points())

    def network(self, data: Any) -> Any:
        import flax.linen as nn

        return nn.Sequential([nn.Dense(self.width), nn.relu, nn.Dense(3)])


@dataclass(frozen=True, kw_only=True)
class Numbers(Regression):
    """The sum of a point's coordinates, and one linear layer."""

    defaults: ClassVar[Defaults] = RATES

    def data(self, context: Any) -> Any:
        train, test = points(), points(24, 1)
        return data_of(*(Split(each.inputs, each.inputs.sum(axis=1)) for each in (train, test)))

    def network(self, data: Any) -> Any:
        import flax.linen as nn

        return nn.Sequential([nn.Dense(1), lambda x: x[:, 0]])


# ------------------------------------------------------------------------------------------------- what it declares


class Plain:
    """No dataclass."""


@dataclass
class Thawed:
    width: int = 3


@dataclass(frozen=True)
class Stranger:
    """Not derived from Workload."""


@dataclass(frozen=True, kw_only=True)
class Direction(Right):
    headline: ClassVar[Headline] = Headline("accuracy", "higher")  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Rates(Right):
    defaults: ClassVar[Defaults] = Defaults(learning_rate=-1.0)


@dataclass(frozen=True, kw_only=True)
class Optimizer(Right):
    defaults: ClassVar[Defaults] = Defaults(optimizer="sdg")


@dataclass(frozen=True, kw_only=True)
class NoDefaults(Right):
    defaults: ClassVar[Any] = {"epochs": 3}


@dataclass(frozen=True, kw_only=True)
class Undocumented(Right):
    depth: int = 3


@dataclass(frozen=True, kw_only=True)
class Untyped(Right):
    """Takes anything."""

    depth: Annotated[Any, Doc("anything")] = 3


# ------------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, kw_only=True)
class Unequal(Right):
    def data(self, context: Any) -> Any:
        split = points()
        return data_of(Split(split.inputs, split.targets[:-1]))


@dataclass(frozen=True, kw_only=True)
class Empty(Right):
    def data(self, context: Any) -> Any:
        return data_of(points(0))


@dataclass(frozen=True, kw_only=True)
class Texts(Right):
    def data(self, context: Any) -> Any:
        split = points()
        return data_of(Split(split.inputs.astype(str), split.targets))


@dataclass(frozen=True, kw_only=True)
class Lists(Right):
    def data(self, context: Any) -> Any:
        split = points()
        return data_of(Split(split.inputs.tolist(), split.targets))


@dataclass(frozen=True, kw_only=True)
class Pair(Right):
    def data(self, context: Any) -> Any:
        return points(), points()


@dataclass(frozen=True, kw_only=True)
class Unsplit(Right):
    def data(self, context: Any) -> Any:
        return Dataset("points", "1", (points().inputs, points().targets), points(), num_classes=3)  # type: ignore[type-var]


@dataclass(frozen=True, kw_only=True)
class Unloadable(Right):
    def data(self, context: Any) -> Any:
        raise FileNotFoundError(2, "No such file or directory", "points.npz")


@dataclass(frozen=True, kw_only=True)
class Labels(Right):
    def data(self, context: Any) -> Any:
        split = points()
        return data_of(Split(split.inputs, split.targets + 1))


@dataclass(frozen=True, kw_only=True)
class Fractions(Right):
    def data(self, context: Any) -> Any:
        split = points()
        return data_of(Split(split.inputs, split.targets.astype(np.float32)))


@dataclass(frozen=True, kw_only=True)
class Drawn(Right):
    def data(self, context: Any) -> Any:
        return data_of(points(seed=int.from_bytes(os.urandom(4), "big")))


@dataclass(frozen=True, kw_only=True)
class Hashed(Right):
    def data(self, context: Any) -> Any:
        return data_of(points(seed=os.getpid()))


# ---------------------------------------------------------------------------------------------------------- network


@dataclass(frozen=True, kw_only=True)
class Parameterless(Right):
    def network(self, data: Any) -> Any:
        import flax.linen as nn

        return nn.Sequential([nn.relu])


@dataclass(frozen=True, kw_only=True)
class Dropping(Right):
    def network(self, data: Any) -> Any:
        import flax.linen as nn

        return nn.Sequential([nn.Dense(3), nn.Dropout(0.5, deterministic=False)])


@dataclass(frozen=True, kw_only=True)
class Raising(Right):
    def network(self, data: Any) -> Any:
        raise RuntimeError("out of neurons")


@dataclass(frozen=True, kw_only=True)
class Failing(Right):
    def network(self, data: Any) -> Any:
        import flax.linen as nn

        return nn.Sequential([nn.Dense(3), lambda x: x @ x])


@dataclass(frozen=True, kw_only=True)
class Nothing(Right):
    def network(self, data: Any) -> Any:
        return None


@dataclass(frozen=True, kw_only=True)
class Fewer(Right):
    def network(self, data: Any) -> Any:
        import flax.linen as nn

        return nn.Dense(2)


@dataclass(frozen=True, kw_only=True)
class Counting(Right):
    """Its network has another factor each time it is traced."""

    def network(self, data: Any) -> Any:
        import flax.linen as nn

        return nn.Sequential([nn.Dense(3), lambda x: x * (1 + np.random.default_rng().random())])


@dataclass(frozen=True, kw_only=True)
class Centred(Right):
    """Its network subtracts the mean of the batch, in training alone."""

    def network(self, data: Any) -> Any:
        import flax.linen as nn

        class Centred(nn.Module):
            @nn.compact
            def __call__(self, x: Any, train: bool) -> Any:
                x = nn.Dense(3)(x)
                return x - 3 * x.mean(axis=0) if train else x

        return Centred()


# ------------------------------------------------------------------------------------------------------------ rules


@dataclass(frozen=True, kw_only=True)
class MeanLoss(Right):
    def loss(self, outputs: Any, targets: Any) -> Any:
        return super().loss(outputs, targets).mean()


@dataclass(frozen=True, kw_only=True)
class NoLoss(Workload):
    defaults: ClassVar[Defaults] = RATES

    def data(self, context: Any) -> Any:
        return data_of(points())

    network = Right.network
    width: int = 4


@dataclass(frozen=True, kw_only=True)
class WideMetric(Right):
    def metrics(self, outputs: Any, targets: Any) -> Any:
        return {"accuracy": outputs}


@dataclass(frozen=True, kw_only=True)
class ListMetrics(Right):
    def metrics(self, outputs: Any, targets: Any) -> Any:
        return [outputs.argmax(-1) == targets]


@dataclass(frozen=True, kw_only=True)
class NanMetric(Right):
    def metrics(self, outputs: Any, targets: Any) -> Any:
        return {**super().metrics(outputs, targets), "ratio": targets * 0.0 / 0.0}


@dataclass(frozen=True, kw_only=True)
class Unmeasured(Right):
    headline: ClassVar[Headline] = Headline("acuracy", "max")


@dataclass(frozen=True, kw_only=True)
class Ranked(Right):
    """Its metric is the place of an example in the batch by its loss."""

    def metrics(self, outputs: Any, targets: Any) -> Any:
        accuracy = super().metrics(outputs, targets)
        return {**accuracy, "rank": self.loss(outputs, targets).argsort().argsort() * 1.0}


@dataclass(frozen=True, kw_only=True)
class NoisyInputs(Right):
    def inputs(self, raw: Any) -> Any:
        return raw + np.random.default_rng().normal(size=3).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class NoisyAugment(Right):
    def augment(self, raw: Any, key: Any) -> Any:
        return raw + np.random.default_rng().normal(size=3).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class WideAugment(Right):
    def augment(self, raw: Any, key: Any) -> Any:
        return raw[None]


@dataclass(frozen=True, kw_only=True)
class Unlearning(Right):
    defaults: ClassVar[Defaults] = Defaults(epochs=1, batch_size=16, loss_reduction="mean", learning_rate=1e4)
