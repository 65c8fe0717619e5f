"""The small models of the tests of zero-shot judging, for the page too."""

from tests.zeroshot.conftest import bert, discriminator, generator, one_thread

__all__ = ["bert", "discriminator", "generator", "one_thread"]
