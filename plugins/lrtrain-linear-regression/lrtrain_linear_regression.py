"""Linear regression whose expected loss is known for any learning rates, as a workload of lrtrain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import ArrayLike, NDArray

from lrtrain import DataContext, Dataset, Defaults, Doc, PositiveInt, Regression, Split, UsageError

if TYPE_CHECKING:
    import flax.linen as nn
    import jax


@dataclass(frozen=True, kw_only=True)
class LinearRegression(Regression):
    r"""Linear regression on drawn data with a power law as its spectrum, in one pass of SGD.

    .. math::
        y = \langle w^*, x \rangle + \sigma \varepsilon, \qquad x_i \sim N(0, \lambda_i), \quad \lambda_i = i^{-b},
        \qquad \ell = \tfrac{1}{2} (\hat y - y)^2

    The network is one linear layer without bias that begins at zero; each of the ``dim`` true weights is 1, b is
    ``exponent``, :math:`\sigma` is ``noise``. The Hessian of the mean loss is the diagonal matrix of the
    :math:`\lambda_i`. Each example is seen once, so `expected_losses` knows the expected loss of every step for any
    table of learning rates: a low rate leaves the directions of small :math:`\lambda_i` unlearned, a high one leaves
    noise in the weights, and a schedule has to trade one for the other.

    The test set has no noise and is not drawn: its :math:`2 \dim` examples are
    :math:`\pm \sqrt{\dim \cdot \lambda_i}` along each axis, so that its mean loss is exactly
    :math:`\tfrac{1}{2} \sum_i \lambda_i (w_i - w^*_i)^2`, the expectation over all inputs. The loss on the training set
    is higher by :math:`\tfrac{1}{2} \sigma^2` in expectation. The test set is the validation set too.

    Example:
      >>> from lrtrain_linear_regression import LinearRegression, expected_losses
      >>> workload = LinearRegression(dim=2, exponent=1.0, noise=0.0)
      >>> [round(float(loss), 4) for loss in expected_losses(workload, [0.5, 0.5], batch_size=1)]
      [0.75, 0.6406, 0.5459]

    Reference: J. Wu et al., Last Iterate Risk Bounds of SGD with Decaying Stepsize, arXiv 2110.06198.
    """

    defaults: ClassVar[Defaults] = Defaults(
        epochs=1, batch_size=16, optimizer="sgd", loss_reduction="mean", learning_rate=0.3
    )

    dim: Annotated[PositiveInt, Doc("number of weights")] = 100
    exponent: Annotated[float, Ge(0), Doc("exponent b of the spectrum")] = 1.5
    noise: Annotated[float, Ge(0), Doc("standard deviation of the noise in the training targets")] = 1.0
    examples: Annotated[PositiveInt, Doc("number of training examples")] = 16000
    seed: Annotated[int, Ge(0), Doc("what the training examples are drawn with")] = 0

    def data(self, context: DataContext) -> Dataset:
        """Returns inputs ``float32[N, dim]`` and targets ``float32[N, 1]``, drawn with ``seed``."""
        if self.train is not None:
            return super().data(context)
        # NumPy keeps what RandomState draws the same for ever, and not what default_rng draws.
        drawn = np.random.RandomState(self.seed).standard_normal((self.examples, self.dim + 1))
        inputs = drawn[:, :-1] * np.sqrt(spectrum(self))
        targets = inputs.sum(1, keepdims=True) + self.noise * drawn[:, -1:]
        test = self._axes()
        return Dataset("linear-regression", "1.0.0", _float32(inputs, targets), test, validation=test)

    def network(self, data: Dataset) -> nn.Dense | Any:  # noqa: ARG002 -- a workload's method has it
        """Returns one linear layer without bias that begins at zero, or the model that was given."""
        if self.model is not None:
            return self.model
        import flax.linen as nn

        return nn.Dense(1, use_bias=False, kernel_init=nn.initializers.zeros)

    def loss(self, outputs: Any, targets: Any) -> jax.Array:
        """Returns half the squared error of each example, float32[batch]."""
        return super().loss(outputs, targets) / 2

    def guess(self, targets: Any) -> float:
        """Returns half the variance of the targets."""
        return super().guess(targets) / 2

    def _axes(self) -> Split:
        """Returns two examples on each axis, whose mean loss is the expectation of the loss without noise."""
        half = np.diag(np.sqrt(self.dim * spectrum(self)))
        inputs = np.concatenate([half, -half])
        return _float32(inputs, inputs.sum(1, keepdims=True))


def _float32(inputs: NDArray[np.float64], targets: NDArray[np.float64]) -> Split:
    return Split(inputs.astype(np.float32), targets.astype(np.float32))


def spectrum(workload: LinearRegression) -> NDArray[np.float64]:
    r"""Returns the variances of the inputs, ``float64[dim]``: :math:`\lambda_i = i^{-b}`, from the largest on."""
    return np.arange(1, workload.dim + 1, dtype=np.float64) ** -workload.exponent


def expected_losses(
    workload: LinearRegression, learning_rates: ArrayLike, *, batch_size: int = LinearRegression.defaults.batch_size
) -> NDArray[np.float64]:
    r"""Returns the expected test loss before each step of one pass of SGD, and after the last one.

    Let :math:`d_t = w_t - w^*`, and let a batch have B examples :math:`x_k` with noise :math:`\varepsilon_k`. With a
    mean over the batch, SGD subtracts :math:`\eta_t` times the gradient of the loss:

    .. math::
        d_{t+1} = (I - \eta_t H) d_t + \frac{\eta_t \sigma}{B} \sum_{k=1}^{B} \varepsilon_k x_k, \qquad
        H = \frac{1}{B} \sum_{k=1}^{B} x_k x_k^\top

    The examples are new in each step, so they are independent of :math:`d_t`; the noise is independent of the inputs
    and has mean 0. Let :math:`M_t = E[d_t d_t^\top]` and :math:`\Lambda = \operatorname{diag}(\lambda)`. Then

    .. math::
        M_{t+1} = M_t - \eta_t (\Lambda M_t + M_t \Lambda) + \eta_t^2 E[H M_t H] + \frac{\eta_t^2 \sigma^2}{B} \Lambda

    In H M H, the B terms with one example twice and the B (B - 1) terms with two examples have the expectations

    .. math::
        E[x x^\top M x x^\top] = 2 \Lambda M \Lambda + \operatorname{tr}(\Lambda M) \Lambda, \qquad
        E[x_k x_k^\top M x_l x_l^\top] = \Lambda M \Lambda

    The first one is Isserlis' theorem for Gaussian inputs. Together they are
    :math:`E[H M H] = \frac{B + 1}{B} \Lambda M \Lambda + \frac{1}{B} \operatorname{tr}(\Lambda M) \Lambda`. The
    diagonal :math:`m` of M depends on nothing but itself, and so does the loss:

    .. math::
        m_{t+1, i} = m_{t, i} \left(1 - 2 \eta_t \lambda_i + \eta_t^2 \lambda_i^2 \frac{B + 1}{B}\right)
          + \frac{\eta_t^2 \lambda_i}{B} \Big(\sum_j \lambda_j m_{t, j} + \sigma^2\Big), \qquad
        m_{0, i} = 1, \qquad E[L_t] = \frac{1}{2} \sum_i \lambda_i m_{t, i}

    The expected training loss of step t is :math:`E[L_t] + \sigma^2 / 2`. A loss summed over the batch is the same with
    learning rates that are B times as high.

    Args:
      workload: its spectrum and its noise are used, its examples are not.
      learning_rates: the learning rate of each step, of a loss that is a mean over the batch.
      batch_size: the number of examples in a step.

    Returns:
      The losses, ``float64[steps + 1]``. They are infinite or huge where the learning rates are too high.
    """
    variances, power = spectrum(workload), workload.noise**2
    moments = np.ones(workload.dim)
    losses = [variances @ moments / 2]
    with np.errstate(over="ignore"):
        for rate in np.asarray(learning_rates, np.float64):
            scaled = rate * variances
            kept = 1 - 2 * scaled + scaled**2 * (batch_size + 1) / batch_size
            moments = kept * moments + rate * scaled / batch_size * (variances @ moments + power)
            losses.append(variances @ moments / 2)
    return np.array(losses)


def largest_stable_rate(workload: LinearRegression, *, batch_size: int = LinearRegression.defaults.batch_size) -> float:
    r"""Returns the constant learning rate up to which the expected loss stays bounded.

    The matrix of the recursion in `expected_losses` is a diagonal one plus one of rank 1, both without negative
    entries. Its spectral radius is below 1 where

    .. math::
        \eta \lambda_1 \frac{B + 1}{B} < 2 \quad \text{and} \quad
        \sum_i \frac{\eta \lambda_i}{2 B - \eta \lambda_i (B + 1)} < 1
    """
    from scipy.optimize import brentq

    variances = spectrum(workload)
    highest = 2 * batch_size / (batch_size + 1)

    def excess(rate: float) -> float:
        return float(np.sum(rate * variances / (2 * batch_size - rate * variances * (batch_size + 1)))) - 1

    return float(brentq(excess, 0, highest * (1 - 1e-12)))


def best_constant_rate(
    workload: LinearRegression, steps: int, *, batch_size: int = LinearRegression.defaults.batch_size
) -> float:
    """Returns the constant learning rate with the lowest expected loss after that number of steps.

    Raises:
      UsageError: there is no step.
    """
    from scipy.optimize import minimize_scalar

    if steps < 1:
        raise UsageError(f"steps={steps} is refused: a learning rate has no effect without a step")
    highest = largest_stable_rate(workload, batch_size=batch_size)

    def last(rate: float) -> float:
        return float(expected_losses(workload, np.full(steps, rate), batch_size=batch_size)[-1])

    return float(minimize_scalar(last, bounds=(0, highest), method="bounded", options={"xatol": 1e-6 * highest}).x)
