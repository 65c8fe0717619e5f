"""Order of an epoch: a keyed permutation, computed for any position at once, without an array of the data's size.

A Feistel network permutes the smallest domain of an even number of bits that holds the rows; a result outside the rows
is sent through again until it falls inside ("cycle walking": Black and Rogaway, Ciphers with Arbitrary Finite Domains,
CT-RSA 2002). The domain is less than four times the rows, so a position walks fewer than four times on average.
"""

import numpy as np
from jaxtyping import Int, Int64, UInt64

# Four rounds make a strong pseudorandom permutation of long halves (Luby and Rackoff, 1988); ours may be a few bits.
_ROUNDS = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mix(x: UInt64[np.ndarray, "*s"]) -> UInt64[np.ndarray, "*s"]:
    """A bijective 64-bit hash: the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


def fold(*numbers: int) -> int:
    """One 64-bit key from any number of integers; their order matters."""
    key = np.zeros(1, np.uint64)
    for number in numbers:
        key = mix(mix(key + _GOLDEN) ^ np.array([number % 2**64], np.uint64))
    return int(mix(key)[0])


def permute(index: Int[np.ndarray, " n"], size: int, key: int) -> Int64[np.ndarray, " n"]:
    """Where the permutation of 0 .. size - 1 that `key` names takes each index: int64, a bijection for every key.

    ValueError if an index lies outside, or if there are none to permute.
    """
    if size < 1 or size > 2**62:
        raise ValueError(f"a permutation of {size} elements; there must be from 1 to 2**62")
    if index.size and (int(index.min()) < 0 or int(index.max()) >= size):
        raise ValueError(f"an index lies outside 0 .. {size - 1}")
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    shift, low = np.uint64(half), np.uint64((1 << half) - 1)
    keys = mix(np.uint64(key % 2**64) + _GOLDEN * np.arange(1, _ROUNDS + 1, dtype=np.uint64))
    out = index.astype(np.uint64)
    todo = np.arange(out.size)
    while todo.size:
        left, right = out[todo] >> shift, out[todo] & low
        for number in keys:
            left, right = right, left ^ (mix(right + number) & low)
        out[todo] = (left << shift) | right
        todo = todo[out[todo] >= size]
    return out.astype(np.int64)
