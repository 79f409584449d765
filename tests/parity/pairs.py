"""Their schedules and ours, side by side: what the tests compare and what docs/reference/parity.md shows.

``theirs`` is Python as one would write it, with an ``optimizer`` whose learning rate is 1, T the updates of the run and
W a tenth of them. In ``ours``, a spec, ``<T - 1>`` stands for such a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LIBRARIES = ("torch", "transformers", "timm")
LENGTHS = (60, 100, 1000, 2350)
"""Runs that the schedules are compared over: tenths of them are whole, and so are thirds of what a warmup leaves."""


@dataclass(frozen=True)
class Pair:
    """One schedule of another library and the spec that gives the same learning rates.

    Args:
      library: one of `LIBRARIES`.
      theirs: the call that makes their scheduler.
      ours: the spec.
      difference: what one must know to carry a configuration over; nothing where the two count alike.
    """

    library: str
    theirs: str
    ours: str
    difference: str = ""

    @property
    def name(self) -> str:
        """Their name: the function or class that is called, the last one where calls are nested."""
        return self.theirs.partition("(")[0]

    def spec(self, total_steps: int) -> str:
        """Returns our spec for a run of that many steps."""
        return re.sub("<(.*?)>", lambda match: str(eval(match[1], numbers(total_steps))), self.ours)


def numbers(total_steps: int) -> dict[str, int]:
    """Returns what T and W stand for."""
    return {"T": total_steps, "W": total_steps // 10}


UP = "linear(init_value=0, end_value=1)"
ONE_STEP = "PyTorch's phases end a step earlier: the peak is at step pct_start T - 1, the end at T - 1."
FROM_0 = "The warmup begins at 0, so the first update changes nothing; `init_value` is where ours begins."
NO_WARMUP_IN_T = f"{FROM_0} t_initial excludes the warmup."
HALF_A_CYCLE = "step_size_up is half a cycle, or the first part of one; 2000 steps by default, ours a tenth of the run."
PERIODIC = "After T steps PyTorch goes up again; ours stays."

TORCH = (
    Pair(
        "torch",
        "ConstantLR(optimizer, factor=0.25, total_iters=W)",
        "piecewise-constant(init_value=0.25, boundaries_and_scales={10%: 4})",
    ),
    Pair(
        "torch",
        "LinearLR(optimizer, start_factor=1, end_factor=0.1, total_iters=T)",
        "linear(init_value=1, end_value=0.1)",
        "By default PyTorch goes up, from a third, in 5 steps.",
    ),
    Pair(
        "torch",
        "ExponentialLR(optimizer, gamma=0.999)",
        "exponential-decay(init_value=1, decay_rate=0.999, transition_steps=1)",
    ),
    Pair(
        "torch",
        "StepLR(optimizer, step_size=W, gamma=0.5)",
        "exponential-decay(init_value=1, decay_rate=0.5, transition_steps=10%, staircase=true)",
    ),
    Pair(
        "torch",
        "MultiStepLR(optimizer, milestones=[3 * W, 6 * W, 9 * W], gamma=0.1)",
        "multistep(init_value=1, milestones=[30%, 60%, 90%], gamma=0.1)",
    ),
    Pair(
        "torch",
        "PolynomialLR(optimizer, total_iters=T, power=2)",
        "polynomial(init_value=1, power=2)",
    ),
    Pair(
        "torch",
        "CosineAnnealingLR(optimizer, T_max=T, eta_min=0.1)",
        "cosine-decay(init_value=1, alpha=0.1)",
        f"{PERIODIC} `alpha` is a share of the first learning rate, `eta_min` a learning rate.",
    ),
    Pair(
        "torch",
        "CosineAnnealingWarmRestarts(optimizer, T_0=2 * W, eta_min=0.1)",
        "sgdr(cycles=5, peak_value=1, end_value=0.1)",
    ),
    Pair(
        "torch",
        "CosineAnnealingWarmRestarts(optimizer, T_0=W, T_mult=2)",
        "sgdr(cycles=4, decay_steps=10%, cycle_mult=2, peak_value=1)",
        "Theirs starts again for ever, ours `cycles` times; a cycle that does not fit in the run is cut off.",
    ),
    Pair(
        "torch",
        "CyclicLR(optimizer, base_lr=0.1, max_lr=1, step_size_up=2 * W, cycle_momentum=False)",
        "cyclic(init_value=0.1, peak_value=1, step_size_up=20%)",
        HALF_A_CYCLE,
    ),
    Pair(
        "torch",
        "CyclicLR(optimizer, base_lr=0.1, max_lr=1, step_size_up=W, step_size_down=2 * W, mode='triangular2', "
        "cycle_momentum=False)",
        "cyclic(init_value=0.1, peak_value=1, step_size_up=10%, step_size_down=20%, mode=triangular2)",
        HALF_A_CYCLE,
    ),
    Pair(
        "torch",
        "CyclicLR(optimizer, base_lr=0.1, max_lr=1, step_size_up=2 * W, mode='exp_range', gamma=0.999, "
        "cycle_momentum=False)",
        "cyclic(init_value=0.1, peak_value=1, step_size_up=20%, mode=exp_range, gamma=0.999)",
        f"{HALF_A_CYCLE} Without a gamma PyTorch's cycles keep their height.",
    ),
    Pair(
        "torch",
        "SequentialLR(optimizer, [LinearLR(optimizer, 0.01, 1, W), CosineAnnealingLR(optimizer, T - W)], [W])",
        "warmup-cosine-decay(init_value=0.01, peak_value=1, warmup_steps=10%)",
        "Any sequence: `join`. A start_factor of 0 is refused by PyTorch.",
    ),
    Pair(
        "torch",
        "OneCycleLR(optimizer, max_lr=1, total_steps=T, pct_start=0.3, cycle_momentum=False)",
        "cosine-onecycle(peak_value=1, transition_steps=<T - 1>, pct_start=<(3 * W - 0.5) / (T - 1)>, div_factor=25, "
        "final_div_factor=1e4)",
        ONE_STEP,
    ),
    Pair(
        "torch",
        "OneCycleLR(optimizer, max_lr=1, total_steps=T, pct_start=0.3, anneal_strategy='linear', three_phase=True, "
        "cycle_momentum=False)",
        "linear-onecycle(peak_value=1, transition_steps=<T - 1>, pct_start=<(3 * W - 0.5) / (T - 1)>, "
        "pct_final=<(6 * W - 1.5) / (T - 1)>, div_factor=25, final_div_factor=1e4)",
        f"{ONE_STEP} The second phase is as long as the first; ours takes any `pct_final`.",
    ),
    Pair(
        "torch",
        "OneCycleLR(optimizer, max_lr=1, total_steps=T, pct_start=0.3, anneal_strategy='linear', cycle_momentum=False)",
        "piecewise-interpolate(init_value=0.04, boundaries_and_scales={<3 * W - 1>: 25, <T - 1>: 4e-6})",
        "Two straight lines; `linear-onecycle` has three.",
    ),
)

TRANSFORMERS = (
    Pair("transformers", "get_constant_schedule(optimizer)", "constant(value=1)"),
    Pair(
        "transformers",
        "get_constant_schedule_with_warmup(optimizer, W)",
        "warmup-constant(peak_value=1, warmup_steps=10%)",
        FROM_0,
    ),
    Pair(
        "transformers",
        "get_linear_schedule_with_warmup(optimizer, W, T)",
        "linear(init_value=1, warmup_steps=10%)",
        "The warmup begins at 0, so the first update changes nothing.",
    ),
    Pair(
        "transformers",
        "get_cosine_schedule_with_warmup(optimizer, W, T)",
        "warmup-cosine-decay(peak_value=1, warmup_steps=10%)",
        FROM_0,
    ),
    Pair(
        "transformers",
        "get_cosine_with_hard_restarts_schedule_with_warmup(optimizer, W, T, num_cycles=3)",
        f"join(schedules=[{UP}, sgdr(cycles=3, peak_value=1)], boundaries=[10%])",
        f"{FROM_0} Where the cycles do not divide what the warmup leaves, theirs begin between two steps.",
    ),
    Pair(
        "transformers",
        "get_polynomial_decay_schedule_with_warmup(optimizer, W, T, lr_end=0.01, power=2)",
        f"join(schedules=[{UP}, polynomial(init_value=1, end_value=0.01, power=2)], boundaries=[10%])",
        FROM_0,
    ),
    Pair(
        "transformers",
        "get_cosine_with_min_lr_schedule_with_warmup(optimizer, W, T, min_lr_rate=0.1)",
        "warmup-cosine-decay(peak_value=1, warmup_steps=10%, end_value=0.1)",
        FROM_0,
    ),
    Pair(
        "transformers",
        "get_cosine_with_min_lr_schedule_with_warmup_lr_rate(optimizer, W, T, min_lr_rate=0.1)",
        "warmup-cosine-decay(init_value=<1 / W>, peak_value=1, warmup_steps=<W - 1>, decay_steps=<T - 1>, "
        "end_value=0.1)",
        "It is a step ahead of `cosine_with_min_lr`: the first update has 1 / W, the last one `min_lr`.",
    ),
    Pair(
        "transformers",
        "get_wsd_schedule(optimizer, W, 2 * W, T, decay_type='1-sqrt')",
        "wsd(peak_value=1, warmup_steps=10%, decay_steps=20%)",
        FROM_0,
    ),
    Pair(
        "transformers",
        "get_wsd_schedule(optimizer, W, 2 * W, T, decay_type='linear')",
        "wsd(peak_value=1, warmup_steps=10%, decay_steps=20%, decay_type=linear)",
        FROM_0,
    ),
    Pair(
        "transformers",
        "get_wsd_schedule(optimizer, W, 2 * W, T)",
        "wsd(peak_value=1, warmup_steps=10%, decay_steps=20%, decay_type=cosine)",
        f"{FROM_0} The default of theirs is the cosine, that of ours is 1-sqrt.",
    ),
    Pair(
        "transformers",
        "get_inverse_sqrt_schedule(optimizer, W)",
        "inverse-sqrt(peak_value=1, warmup_steps=10%)",
        FROM_0,
    ),
)

TIMM = (
    Pair(
        "timm",
        "CosineLRScheduler(optimizer, T - W, lr_min=0.1, warmup_t=W, warmup_prefix=True, t_in_epochs=False)",
        "warmup-cosine-decay(peak_value=1, warmup_steps=10%, end_value=0.1)",
        f"{FROM_0} t_initial excludes the warmup where warmup_prefix is set; where it is not, the default, the warmup "
        "takes the place of the beginning of the cosine.",
    ),
    Pair(
        "timm",
        "CosineLRScheduler(optimizer, 2 * W, cycle_limit=5, t_in_epochs=False)",
        "sgdr(cycles=5, peak_value=1)",
        "t_initial is the length of a cycle, and there is one cycle by default.",
    ),
    Pair(
        "timm",
        "CosineLRScheduler(optimizer, W, lr_min=0.01, cycle_mul=2, cycle_decay=0.5, cycle_limit=4, t_in_epochs=False)",
        "sgdr(cycles=4, decay_steps=10%, cycle_mult=2, peak_value=1, peak_decay=0.5, end_value=0.01)",
        "A cycle that does not fit in the run is cut off.",
    ),
    Pair("timm", "CosineLRScheduler(optimizer, T, k_decay=2, t_in_epochs=False)", "k-decay(init_value=1, k=2)"),
    Pair(
        "timm",
        "StepLRScheduler(optimizer, decay_t=W, decay_rate=0.5, t_in_epochs=False)",
        "exponential-decay(init_value=1, decay_rate=0.5, transition_steps=10%, staircase=true)",
    ),
    Pair(
        "timm",
        "MultiStepLRScheduler(optimizer, decay_t=[3 * W, 6 * W, 9 * W], decay_rate=0.1, t_in_epochs=False)",
        "multistep(init_value=1, milestones=[<3 * W - 1>, <6 * W - 1>, <9 * W - 1>], gamma=0.1)",
        "A milestone acts a step earlier than it says.",
    ),
    Pair(
        "timm",
        "PolyLRScheduler(optimizer, T - W, power=0.5, lr_min=0.1, warmup_t=W, warmup_prefix=True, t_in_epochs=False)",
        f"join(schedules=[{UP}, polynomial(init_value=1, end_value=0.1, power=0.5)], boundaries=[10%])",
        f"{FROM_0} t_initial excludes the warmup where warmup_prefix is set.",
    ),
    Pair(
        "timm",
        "PolyLRScheduler(optimizer, T, power=2, lr_min=0.1, k_decay=1.5, t_in_epochs=False)",
        "k-decay(init_value=1, end_value=0.1, k=1.5, shape=polynomial, power=2)",
        "Their power is 0.5 by default, ours is 1.",
    ),
    Pair(
        "timm",
        "WSDLRScheduler(optimizer, T - W, decay_t=2 * W, warmup_t=W, t_in_epochs=False)",
        "wsd(peak_value=1, warmup_steps=10%, decay_steps=20%)",
        NO_WARMUP_IN_T,
    ),
    *(
        Pair(
            "timm",
            f"WSDLRScheduler(optimizer, T - W, decay_t=2 * W, warmup_t=W, {theirs}, t_in_epochs=False)",
            f"wsd(peak_value=1, warmup_steps=10%, decay_steps=20%, decay_type={ours})",
            f"{NO_WARMUP_IN_T}{more}",
        )
        for theirs, ours, more in (
            ("decay_fn='linear'", "linear", ""),
            ("decay_fn='cosine'", "cosine", ""),
            (
                "decay_fn='power', decay_power=2",
                "square",
                " Of the other powers ours has 0.5 as 1-sqrt and 1 as linear.",
            ),
            (
                "decay_fn='exp', decay_ratio=0.1, lr_min=0.1",
                "exponential, end_value=0.1",
                " Equal where lr_min is decay_ratio of the peak: theirs is bent to end at any lr_min, 0 too.",
            ),
        )
    ),
    Pair(
        "timm",
        "WSDLRScheduler(optimizer, T - W, decay_t=2 * W, warmup_t=W, stable_fn='rsqrt', decay_fn='linear', "
        "t_in_epochs=False)",
        "inverse-sqrt(peak_value=1, warmup_steps=10%, cooldown_steps=20%)",
        NO_WARMUP_IN_T,
    ),
)

PAIRS = TORCH + TRANSFORMERS + TIMM

RULE = "no curve but a rule, which `tests/parity/test_rules.py` compares epoch by epoch:"
ANOTHER_KIND = {
    ("torch", "ReduceLROnPlateau"): f"{RULE} `reduce-on-plateau`",
    ("torch", "LambdaLR"): "a function of your own: [a plugin of your own](../how-to/writing-plugins.md)",
    ("torch", "MultiplicativeLR"): "a function of your own: [a plugin of your own](../how-to/writing-plugins.md)",
    ("torch", "ChainedScheduler"): "a product of schedules: [a plugin of your own](../how-to/writing-plugins.md)",
    ("transformers", "get_reduce_on_plateau_schedule"): f"{RULE} `reduce-on-plateau`; it is PyTorch's",
    ("transformers", "get_greedy_schedule"): f"{RULE} `greedy`",
    ("timm", "PlateauLRScheduler"): f"{RULE} `reduce-on-plateau`; theirs is PyTorch's",
    ("timm", "TanhLRScheduler"): "none; [a plugin of your own](../how-to/writing-plugins.md) has its formula in a line",
}
"""Their schedulers that have no curve to compare, or none of ours beside them, and why."""
