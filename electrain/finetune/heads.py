"""Heads for a class or a number a row, and for a class a token."""

from typing import Literal, final

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.batch import Batch
from electrain.encoders.base import Encoder, mean
from electrain.finetune.task import SITE, Head
from electrain.randomness import Drop, dropout

Kind = Literal["dense", "linear", "mean"]
IGNORE = -100  # cross-entropy's own mark of a place without a target


def hidden_layer(encoder: Encoder) -> tuple[nn.Linear, nn.Module]:
    """A dense layer before a head's last one, and the LayerNorm behind its GELU where the encoder's heads have one."""
    bias = encoder.head_bias
    norm = nn.LayerNorm(encoder.width, eps=encoder.norm_eps, bias=bias) if encoder.verdict_norm else nn.Identity()
    return nn.Linear(encoder.width, encoder.width, bias=bias), norm


@final
class Reader(nn.Module):
    """From a row's vectors to k numbers: from the one at [CLS], or from the mean of all, [CLS] and [SEP] among them.

    "dense":  dropout, linear, GELU, dropout, linear: ElectraClassificationHead of transformers, weight for weight; over
              a modern encoder with a LayerNorm after GELU, as in ModernBertForSequenceClassification
    "linear": dropout, linear: the head that ELECTRA's paper describes
    "mean":   as "dense", from the mean: ModernBertForSequenceClassification with `classifier_pooling="mean"`
    """

    def __init__(self, encoder: Encoder, out: int, dropout: float, kind: Kind):
        super().__init__()
        self.dropout, self.kind = dropout, kind
        self.dense, self.norm = (None, nn.Identity()) if kind == "linear" else hidden_layer(encoder)
        self.out = nn.Linear(encoder.width, out)
        for module in (self.dense, self.out):
            if module is not None:
                encoder.start(module)

    def forward(self, hidden: Float[Tensor, "b t d"], batch: Batch, drop: Drop | None) -> Float[Tensor, "b k"]:
        """Logits in float32."""
        x = mean(hidden, batch.real) if self.kind == "mean" else hidden[:, 0]
        x = dropout(x, self.dropout, drop, SITE)
        if self.dense is not None:
            x = dropout(self.norm(F.gelu(self.dense(x))), self.dropout, drop, SITE + 1)
        return self.out(x).float()


@final
class Classifier(Head):
    """One of k classes a row; the loss is the cross-entropy, targets are (b, 1)."""

    def __init__(self, encoder: Encoder, classes: int, dropout: float, kind: Kind = "dense"):
        super().__init__()
        self.reader = Reader(encoder, classes, dropout, kind)

    def forward(
        self, hidden: Float[Tensor, "b t d"], batch: Batch, target: Int[Tensor, "b 1"], drop: Drop | None
    ) -> Float[Tensor, " b"]:
        return F.cross_entropy(self.reader(hidden, batch, drop), target[:, 0], reduction="none")

    def predict(self, hidden: Float[Tensor, "b t d"], batch: Batch) -> tuple[Tensor, ...]:
        """Logits (b, k), float32."""
        return (self.reader(hidden, batch, None),)


@final
class Regressor(Head):
    """One number a row; the loss is the squared error, targets are (b, 1), scaled to 0 .. 1 (ELECTRA's own code)."""

    def __init__(self, encoder: Encoder, dropout: float, kind: Kind = "dense"):
        super().__init__()
        self.reader = Reader(encoder, 1, dropout, kind)

    def forward(
        self, hidden: Float[Tensor, "b t d"], batch: Batch, target: Float[Tensor, "b 1"], drop: Drop | None
    ) -> Float[Tensor, " b"]:
        return (self.reader(hidden, batch, drop) - target.float()).square()[:, 0]

    def predict(self, hidden: Float[Tensor, "b t d"], batch: Batch) -> tuple[Tensor, ...]:
        """The scaled number (b, 1), float32; it may lie outside 0 .. 1."""
        return (self.reader(hidden, batch, None),)


@final
class Tagger(Head):
    """One of k classes a token; targets (b, t), `ignore` elsewhere.

    Dropout, linear (ElectraForTokenClassification); over a modern encoder linear, GELU and LayerNorm before them
    (ModernBertForTokenClassification).

    A row's loss is its summed cross-entropy over the batch's mean number of targets, of rows that have any. So the mean
    over these rows is the mean over the batch's targets, which transformers takes: every word weighs the same, however
    long its sentence.
    """

    ignore: int = IGNORE

    def __init__(self, encoder: Encoder, classes: int, dropout: float):
        super().__init__()
        self.dropout = dropout
        self.dense, self.norm = hidden_layer(encoder) if encoder.verdict_norm else (None, nn.Identity())
        self.out = nn.Linear(encoder.width, classes)
        for module in (self.dense, self.out):
            if module is not None:
                encoder.start(module)

    def forward(
        self, hidden: Float[Tensor, "b t d"], batch: Batch, target: Shaped[Tensor, "b t"], drop: Drop | None
    ) -> Float[Tensor, " b"]:
        logits = self.out(dropout(self._read(hidden), self.dropout, drop, SITE)).float()
        target = target.long()
        each = F.cross_entropy(logits.transpose(1, 2), target, reduction="none", ignore_index=IGNORE)
        count = (target != IGNORE).sum(1)
        return each.sum(1) * ((count > 0).sum() / count.sum().clamp(min=1))

    def predict(self, hidden: Float[Tensor, "b t d"], batch: Batch) -> tuple[Tensor, ...]:
        """Logits (b, t, k), float32."""
        return (self.out(self._read(hidden)).float(),)

    def _read(self, hidden: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        return hidden if self.dense is None else self.norm(F.gelu(self.dense(hidden)))
