"""The joint step as one writes it with transformers."""

import torch
from torch import nn

from electrain.compute import casting
from electrain.encoders.bert import Bert


class Plain(nn.Module):
    """Generator and discriminator: logits everywhere, labels of -100, sampling by multinomial."""

    def __init__(self, encoder: Bert.Config, width: float, vocabulary: int):
        from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining

        def config(of: Bert.Config) -> ElectraConfig:
            return ElectraConfig(
                vocab_size=vocabulary, embedding_size=of.embedding, hidden_size=of.hidden, intermediate_size=of.ffn,
                num_hidden_layers=of.layers, num_attention_heads=of.heads, hidden_dropout_prob=of.dropout,
                attention_probs_dropout_prob=of.attention_dropout,
            )  # fmt: skip

        super().__init__()
        self.generator = ElectraForMaskedLM(config(encoder.scaled(width, 1.0)))
        self.discriminator = ElectraForPreTraining(config(encoder))
        self.generator.electra.embeddings = self.discriminator.electra.embeddings
        self.generator.tie_weights()

    def forward(self, ids: torch.Tensor, maskable: torch.Tensor, mask: int) -> torch.Tensor:
        selected = (torch.rand(ids.shape, device=ids.device) < 0.15) & maskable
        masked = torch.where(selected & (torch.rand(ids.shape, device=ids.device) < 0.85), mask, ids)
        output = self.generator(input_ids=masked, labels=torch.where(selected, ids, -100))
        with torch.no_grad():
            noise = -torch.log(-torch.log(torch.rand(output.logits.shape, device=ids.device).clamp(1e-9, 1 - 1e-7)))
            drawn = (output.logits.float() + noise).argmax(-1)
        corrupted = torch.where(selected, drawn, ids)
        labels = (corrupted != ids).long()
        return output.loss + 50.0 * self.discriminator(input_ids=corrupted, labels=labels).loss


class Loop:
    """The loop around it: AdamW, clipping, dropout 0.1."""

    def __init__(
        self, encoder: Bert.Config, width: float, vocabulary: int, ids: torch.Tensor, dtype: torch.dtype, compiled: bool
    ):
        self.model = Plain(encoder, width, vocabulary).to(ids.device)
        self.model.train()
        self.call = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=5e-4, eps=1e-6, weight_decay=0.01, fused=True)
        self.ids, self.dtype = ids, dtype

    def step(self) -> None:
        """One update."""
        with casting(self.ids.device, self.dtype):
            loss = self.call(self.ids, self.ids > 4, 4)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
