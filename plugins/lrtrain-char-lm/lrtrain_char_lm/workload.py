"""The next character of a text, as a workload of lrtrain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Ge, Lt

from lrtrain import DataContext, Dataset, Defaults, Doc, Headline, NextToken, PositiveInt, Split, UsageError
from lrtrain_char_lm import text

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True, kw_only=True)
class CharLM(NextToken):
    """The next character of a text, by a small transformer; the headline is bits per character.

    The text is Genesis to 2 Kings in the King James translation, 1.5 million characters, of which 62 are different. Its
    first 90% are for training, the next 5% for validation and the last 5% for the test, each cut into sequences of
    ``length`` characters that do not overlap. A character is predicted from those before it in its sequence, so the
    first ones of each have little to go by.

    The network is a decoder of ``layers`` blocks, each attention and a feed-forward layer of four times the width,
    with RMSNorm before both, rotary positions and no biases. Dropout is on what each of them adds.

    Raises:
      UsageError: ``width`` is no multiple of twice the ``heads``, which rotary positions need, or ``length`` is that of
        the test text or more.

    Example:
      >>> from lrtrain.workloads.workload import DataContext
      >>> from lrtrain_char_lm import CharLM
      >>> data = CharLM(length=100).data(DataContext())
      >>> data.train.inputs.shape, data.validation.inputs.shape, data.test.inputs.shape
      ((13592, 100), (755, 100), (755, 100))

    References: Vaswani et al., arXiv 1706.03762 (transformer); Su et al., arXiv 2104.09864 (rotary positions).
    """

    defaults: ClassVar[Defaults] = Defaults(
        epochs=5,
        batch_size=32,
        optimizer="adamw(b2=0.99, weight_decay=0.1)",
        loss_reduction="mean",
        learning_rate=1e-3,
    )
    headline: ClassVar[Headline] = Headline("bits_per_character", "min")

    length: Annotated[PositiveInt, Doc("characters in a sequence")] = 128
    width: Annotated[PositiveInt, Doc("numbers that stand for a character within the network")] = 128
    layers: Annotated[PositiveInt, Doc("blocks of attention and feed-forward layer")] = 2
    heads: Annotated[PositiveInt, Doc("heads of attention in each block")] = 4
    dropout: Annotated[float, Ge(0), Lt(1), Doc("share of each block's output that is dropped in training")] = 0.1

    def data(self, context: DataContext) -> Dataset:
        """Returns the sequences, tokens ``int32[N, length]`` and the tokens that follow them."""
        if self.train is not None:
            return super().data(context)
        parts = text.split_by_position(text.tokens_of(text.read_text()))
        shortest = min(map(len, parts))
        if self.length >= shortest:
            raise UsageError(f"length={self.length} is too long: the test text has {shortest} characters")
        train, validation, test = (Split(*text.sequences(part, self.length)) for part in parts)
        return Dataset("char-lm", "1.0.0", train, test, validation=validation)

    def network(self, data: Dataset) -> Any:
        """Returns the transformer; its vocabulary is that of the data."""
        if self.model is not None:
            return self.model
        if self.width % (2 * self.heads):
            raise UsageError(f"width={self.width} is refused: it must be a multiple of 2 * heads, {2 * self.heads}")
        from lrtrain_char_lm.network import Transformer

        vocabulary = 1 + max(int(part.targets.max()) for part in (data.train, data.test))
        return Transformer(vocabulary, self.width, self.layers, self.heads, self.dropout)

    def metrics(self, outputs: Any, targets: Any) -> Mapping[str, jax.Array]:
        """Returns ``bits_per_character``, the loss in bits, and ``accuracy``, the share predicted right."""
        named = super().metrics(outputs, targets)
        return {"bits_per_character": named["bits_per_token"], "accuracy": named["accuracy"]}
