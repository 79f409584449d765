"""A small transformer that learns the next character of a public-domain text, as a workload of lrtrain."""

from lrtrain_char_lm.ngram import ngram_bits
from lrtrain_char_lm.text import read_text
from lrtrain_char_lm.workload import CharLM

__all__ = ["CharLM", "ngram_bits", "read_text"]
