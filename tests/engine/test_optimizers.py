"""Optimizers by their specs: each step is that of optax, called directly; what cannot be used is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrtrain.engine.optimizers import OPTIMIZERS, as_before, canonical, is_proportional_to_the_gradient, optimizer
from lrtrain.errors import UsageError
from tests.lab import announce

# A name alone means optax's defaults, as a run of an earlier lrtrain stored it.
REFERENCES: dict[str, Any] = {
    "adagrad": optax.adagrad,
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lamb": optax.lamb,
    "lion": optax.lion,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "nadam": optax.nadam,
    "nesterov": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    "rmsprop": optax.rmsprop,
    "sgd": optax.sgd,
}
MASK = {"a": True, "b": False}
SPECS: dict[str, Any] = {
    "adamw(weight_decay=0.05, b2=0.95)": lambda rate: optax.adamw(rate, b2=0.95, weight_decay=0.05, mask=MASK),
    "adamw(weight_decay=0.05, mask=none)": lambda rate: optax.adamw(rate, weight_decay=0.05),
    "lion": lambda rate: optax.lion(rate, mask=MASK),
    "lamb(weight_decay=0.1)": lambda rate: optax.lamb(rate, weight_decay=0.1, mask=MASK),
    "sgd(momentum=0.8, nesterov=true)": lambda rate: optax.sgd(rate, momentum=0.8, nesterov=True),
    "adam(mu_dtype=bfloat16, nesterov=true)": lambda rate: optax.adam(rate, mu_dtype=jnp.bfloat16, nesterov=True),
    "adafactor(decay_rate=0.9)": lambda rate: optax.adafactor(rate, decay_rate=0.9),
    "nadam(b1=0.8)": lambda rate: optax.nadam(rate, b1=0.8),
    "nadamw(weight_decay=0.1)": lambda rate: optax.nadamw(rate, weight_decay=0.1, mask=MASK),
    "adadelta(weight_decay=0.1)": lambda rate: optax.adadelta(rate, weight_decay=0.1, weight_decay_mask=MASK),
    "adan(weight_decay=0.1)": lambda rate: optax.adan(rate, weight_decay=0.1, mask=MASK),
    "novograd(b1=0.8)": lambda rate: optax.novograd(rate, b1=0.8),
    "adabelief": optax.adabelief,
    "radam": optax.radam,
    "muon(weight_decay=0.1, ns_steps=3)": lambda rate: optax.contrib.muon(
        rate, weight_decay=0.1, ns_steps=3, weight_decay_mask=MASK
    ),
}
RATES = [0.1, 0.03, 0.3, 0.0, 0.01]


def gradient(params: Any) -> Any:
    return jax.grad(lambda p: jnp.sum(jnp.sin(3 * p["a"]) * p["a"]) + jnp.sum(p["b"] ** 4))(params)


def params_of() -> Any:
    return {"a": jnp.linspace(-1.0, 2.0, 6).reshape(2, 3), "b": jnp.array([0.5, -1.5])}


def same_steps(ours: optax.GradientTransformation, theirs: optax.GradientTransformation) -> None:
    """Compares our steps with those of an optimizer that was made with the learning rates."""
    params = expected = params_of()
    state, reference = ours.init(params), theirs.init(expected)
    for rate in RATES:
        updates, state = ours.update(gradient(params), state, params)
        params = jax.tree.map(lambda p, u, rate=rate: p - rate * u, params, updates)
        changes, reference = theirs.update(gradient(expected), reference, expected)
        expected = optax.apply_updates(expected, changes)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), params, expected)


def schedule(count: Any) -> Any:
    return jnp.asarray(RATES)[count]


def test_names() -> None:
    assert set(OPTIMIZERS) == set(REFERENCES)
    assert list(OPTIMIZERS) == sorted(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_name_alone_has_the_steps_of_optax(name: str) -> None:
    same_steps(optimizer(name), REFERENCES[name](schedule))
    same_steps(optimizer(as_before(name)), REFERENCES[name](schedule))


@pytest.mark.parametrize("text", SPECS)
def test_a_spec_has_the_steps_of_optax(text: str) -> None:
    same_steps(optimizer(canonical(text)), SPECS[text](schedule))


@pytest.mark.parametrize("text", ["adamw(weight_decay=0.5)", "lion(weight_decay=0.5)", "adan(weight_decay=0.5)"])
def test_decay_leaves_out_what_is_no_matrix(text: str) -> None:
    """The decay alone, as the difference of two updates: a half of the matrix, and none of the vector."""
    params = params_of()
    with_decay, without = (
        each.update(gradient(params), each.init(params), params)[0]
        for each in (optimizer(canonical(text)), optimizer(canonical(text.replace("0.5", "0"))))
    )
    if not text.startswith("adan"):
        np.testing.assert_allclose(with_decay["a"] - without["a"], 0.5 * params["a"], atol=1e-6)
    assert not np.array_equal(with_decay["a"], without["a"])
    np.testing.assert_array_equal(with_decay["b"], without["b"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sgd", "sgd"),
        ("SGD()", "sgd"),
        ("sgd(momentum=none, nesterov=false)", "sgd"),
        ("sgd(momentum=0.9)", "momentum"),
        ("momentum", "momentum"),
        ("momentum(nesterov=true)", "nesterov"),
        ("nesterov(momentum=0.5)", "sgd(momentum=0.5, nesterov=true)"),
        ("adam(b1=0.9)", "adam"),
        ("adam(eps=1e-6, b1=0)", "adam(b1=0.0, eps=1e-06)"),
        ("adamw", "adamw(mask=matrices)"),
        ("adamw(mask=none)", "adamw(mask=none)"),
        ("adamw(b2=0.95, weight-decay=0.05)", "adamw(b2=0.95, weight_decay=0.05, mask=matrices)"),
        ("adamw(weight_decay=0.0001, b1=0.9)", "adamw(mask=matrices)"),
        ("adadelta(weight_decay_mask=none)", "adadelta(mask=none)"),
        ("adafactor(dtype_momentum=float32)", "adafactor(mask=matrices)"),
        ("muon(ns_coeffs=[3.4445, -4.775, 2.0315])", "muon(mask=matrices)"),
        ("sign-sgd", "sign_sgd"),
    ],
)
def test_one_text_for_one_meaning(text: str, expected: str) -> None:
    assert canonical(text) == expected
    assert canonical(expected) == expected


def test_one_object_for_each_text() -> None:
    assert optimizer("adam") is optimizer("adam")
    assert optimizer(canonical("adamw(b1=0.8)")) is optimizer(canonical("adamw(b1=0.8, b2=0.999)"))


def test_proportional_to_the_gradient_whatever_the_options() -> None:
    assert all(is_proportional_to_the_gradient(text) for text in ("sgd", "momentum", "sgd(momentum=0.5)"))
    assert not any(is_proportional_to_the_gradient(text) for text in ("adam", "adamw(mask=none)", "./a.py:make"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adm", r"unknown optimizer 'adm' \(did you mean 'adam'\?\); known are .*, adam, .*, momentum, .*, muon, "),
        ("scale_by_adam", "unknown optimizer 'scale_by_adam'"),
        (
            "adamw(weight_deca=1)",
            r"'adamw' has no option 'weight_deca' \(did you mean 'weight_decay'\?\); it has b1, b2",
        ),
        ("sign_sgd(b1=1)", "'sign_sgd' has no option 'b1'; it has none"),
        ("adam(learning_rate=1)", "'adam' has no option 'learning_rate'"),
        ("adopt(clip_value_fn=1)", "'adopt' has no option 'clip_value_fn'"),
        ("noisy_sgd(key=1)", "'noisy_sgd' has no option 'key'"),
        ("muon(muon_weight_dimension_numbers=1)", "'muon' has no option"),
        ("adamw(b1=high)", "optimizer 'adamw': b1=high is refused: expected number"),
        ("adamw(b1=1e999)", "b1=1e999 is refused: expected number, and finite"),
        ("adamw(b1=none)", "b1=none is refused: expected number"),
        ("sgd(nesterov=1)", "nesterov=1 is refused: expected true or false"),
        ("muon(ns_steps=2.5)", "ns_steps=2.5 is refused: expected whole number"),
        ("muon(preconditioning=foo)", "preconditioning=foo is refused: expected frobenius or spectral"),
        ("adamw(mask=biases)", "mask=biases is refused: expected matrices or none"),
        ("adam(mu_dtype=int8)", "mu_dtype=int8 is refused: expected bfloat16 or float16 or float32 or none"),
        ("dpsgd", "'dpsgd' needs its option 'l2_norm_clip': give l2_norm_clip=..."),
        ("adamw(b1=", "cannot read 'adamw"),
        ("./none.py:make", r"optimizer '\./none\.py:make' cannot be read: .*none.py: No such file"),
        ("no_such_module:make", r"optimizer 'no_such_module:make' .* fails to import: ModuleNotFoundError"),
        ("os:sep", "optimizer 'os:sep' is '/', and no function"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        canonical(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "prodigy",
        "dadapt_adamw",
        "schedule_free_sgd",
        "polyak_sgd",
        "momo",
        "cocob",
        "madgrad",
        "rprop",
        "fromage",
        "lars",
        "adafactor(momentum=0.9)",
        "adafactor(weight_decay_rate=0.1)",
        "muon(adam_learning_rate=0.1)",
    ],
)
def test_what_is_not_proportional_to_the_learning_rate(text: str) -> None:
    with pytest.raises(
        UsageError, match="is refused: its update is not proportional to the learning rate, and lrtrain"
    ):
        optimizer(canonical(text))


@pytest.mark.parametrize(
    ("text", "cause"),
    [("lbfgs", "value_fn"), ("sophia", "obj_fn")],
)
def test_what_needs_more_than_gradients_and_the_loss(text: str, cause: str) -> None:
    with pytest.raises(UsageError, match=f"its update fails with gradients, parameters, value= and grad=: .*{cause}"):
        optimizer(canonical(text))


def test_the_momentum_of_lars_holds_the_learning_rates_of_before() -> None:
    optimizer(canonical("lars(momentum=0)"))


def test_names_without_optax() -> None:
    code = (
        "import sys; from lrtrain.engine.optimizers import OPTIMIZERS, canonical; [*map(canonical, OPTIMIZERS)]; "
        "sys.exit(bool({'jax', 'optax'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ----------------------------------------------------------------------------------------------- a function of a user

SOURCE = """
import optax

def make(decay: float = 0.5, *, mode="plain", flag=False):
    return optax.chain(optax.trace(decay), optax.scale(2.0 if mode == "double" else 1.0))

def with_rate():
    return optax.adam(1e-3)

def with_trust(size: float):
    return optax.chain(optax.scale_by_adam(), optax.scale_by_trust_ratio(), optax.scale(size))

def by_value():
    def update(updates, state, params=None, *, value, grad, **others):
        return updates, state
    return optax.GradientTransformationExtraArgs(lambda params: (), update)

def no_optimizer():
    return 3

def broken():
    raise RuntimeError("no")

def infinite():
    return optax.scale(float("inf"))

def by_more():
    def update(updates, state, params=None, *, curvature, **others):
        return updates, state
    return optax.GradientTransformationExtraArgs(lambda params: (), update)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_optimizer.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_optimizer", raising=False)
    return tmp_path


def test_a_function_in_a_file(folder: Path) -> None:
    text = canonical("./own_optimizer.py:make(decay=0.9, flag=false)")
    assert text == f"{folder}/own_optimizer.py:make(decay=0.9)"
    same_steps(optimizer(text), optax.sgd(schedule, momentum=0.9))
    assert canonical("./own_optimizer.py:make(decay=0.5, mode=plain)") == f"{folder}/own_optimizer.py:make"
    optimizer(canonical("./own_optimizer.py:by_value"))
    optimizer(canonical("./own_optimizer.py:with_trust(size=2)"))


def test_a_file_that_has_changed_gives_another_object(folder: Path) -> None:
    text = canonical("./own_optimizer.py:make")
    before = optimizer(text)
    assert optimizer(text) is before
    (folder / "own_optimizer.py").write_text(SOURCE.replace("0.5", "0.9"), encoding="utf-8")
    same_steps(optimizer(text), optax.sgd(schedule, momentum=0.9))


def test_a_function_in_a_module(folder: Path) -> None:
    text = canonical("own_optimizer:make(decay=0.9)")
    assert text == "own_optimizer:make(decay=0.9)"
    same_steps(optimizer(text), optax.sgd(schedule, momentum=0.9))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mak", r"fails to import: AttributeError: it has no function 'mak' \(did you mean 'make'\?\)"),
        ("make(deca=1)", r"has no option 'deca' \(did you mean 'decay'\?\); it has decay, mode, flag"),
        ("make(decay=fast)", "decay=fast is refused: expected number"),
        ("make(flag=1)", "flag=1 is refused: expected true or false"),
        ("with_trust", "needs its option 'size': give size="),
        ("with_rate", r"its update points against the gradient, .* leave the learning rate out, as in optax.scale_by"),
        ("no_optimizer", r"returns int, and not an optax\.GradientTransformation"),
        ("broken", "fails with these options: RuntimeError: no"),
        ("infinite", "updates of a small network are not finite"),
        ("by_more", "its update fails with gradients, parameters, value= and grad=: TypeError: .*curvature"),
    ],
)
def test_a_function_that_is_refused(folder: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        optimizer(canonical(f"./own_optimizer.py:{name}"))
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------ of a package


@pytest.fixture
def install(folder: Path) -> Callable[[str, str], None]:
    """Returns a function that installs a distribution with one optimizer, without importing it."""

    def install(project: str, point: str) -> None:
        announce(folder, project, point, group="lrtrain.optimizers")

    return install


def test_an_optimizer_of_a_package(install: Callable[[str, str], None]) -> None:
    install("test-heavy", "Heavy_Ball = own_optimizer:make")
    install("test-other", "broken = no_such_module:make")
    assert canonical("heavy-ball(decay=0.9)") == canonical("heavy_ball(decay=0.9)") == "heavy-ball(decay=0.9)"
    same_steps(optimizer("heavy-ball(decay=0.9)"), optax.sgd(schedule, momentum=0.9))
    with pytest.raises(UsageError, match=r"unknown optimizer 'heavy' .did you mean 'heavy-ball'"):
        canonical("heavy")


def test_two_packages_with_one_name(install: Callable[[str, str], None]) -> None:
    install("test-one", "twin = own_optimizer:make")
    install("test-two", "twin = own_optimizer:make")
    with pytest.raises(UsageError, match=r"'twin' is provided by test-one 1\.0 and test-two 1\.0: uninstall one"):
        canonical("twin")


def test_a_package_with_a_name_of_optax(install: Callable[[str, str], None]) -> None:
    install("test-one", "muon = own_optimizer:make")
    with pytest.raises(UsageError, match=r"provided by optax \S+ and test-one 1\.0: write own_optimizer:make for that"):
        canonical("muon")
