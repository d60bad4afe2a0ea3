"""`python -m benchmarks.word_counts`: epochs of `auto` on made-up raw counts of words, logistic with l2 = 1/N.

Words follow Zipf's law, documents have lognormal lengths and one of twenty topics, and words that were used come
again. The labels are those of a planted sparse model. A coin, a bit of the SHA-256 of the name, puts each set into
the tuned or the judged half. Epochs are those of `mpiopt.fit` with default options until certified to 1e-6, so the
table is the same on a busy machine.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

import mpiopt

TOPICS = 20
REPEATED = 0.3  # share of the words of a document that were used in it before


class Corpus(NamedTuple):
    """Documents to be made."""

    documents: int
    words: int
    seed: int
    length: float  # mean words of a document
    spread: float = 1.0  # deviation of the logarithm of the length
    zipf: float = 1.05  # exponent of the frequencies
    noise: float = 0.1  # of the labels


CORPORA = (
    Corpus(2000, 39000, 1, 350),
    Corpus(5600, 8700, 2, 15, spread=0.5),
    Corpus(16000, 62000, 3, 110),
    Corpus(1000, 20000, 4, 1500, spread=0.7),
    Corpus(8000, 12000, 5, 60, noise=1.0),
    Corpus(4000, 50000, 6, 250, noise=0.01, zipf=1.3),
    Corpus(20000, 30000, 7, 60, spread=1.5, noise=0.3),
    Corpus(12000, 5000, 8, 200, zipf=0.9),
)


def made(corpus: Corpus) -> tuple[Any, NDArray[np.float64]]:
    """Return the counts (documents, words) as CSR, and the labels -1 and 1."""
    n, d, chance = corpus.documents, corpus.words, np.random.default_rng(corpus.seed)
    frequency = np.arange(1.0, d + 1.0) ** -corpus.zipf * np.exp(chance.normal(size=(TOPICS, d)))
    below = np.cumsum(frequency / frequency.sum(axis=1, keepdims=True), axis=1)
    lengths = corpus.length * np.exp(corpus.spread * chance.normal(size=n) - corpus.spread**2 / 2.0)
    lengths, topics = np.maximum(5, lengths.astype(int)), chance.integers(TOPICS, size=n)
    columns = []
    for length, topic in zip(lengths.tolist(), topics.tolist(), strict=True):
        first = max(1, int(length * (1.0 - REPEATED)))
        used = np.minimum(np.searchsorted(below[topic], chance.random(first)), d - 1)
        columns.append(np.concatenate([used, used[chance.integers(first, size=length - first)]]))
    places = np.repeat(np.arange(n), lengths), chance.permutation(d)[np.concatenate(columns)]
    counts = sparse.coo_matrix((np.ones(lengths.sum()), places), shape=(n, d)).tocsr()
    weights = chance.normal(size=d) * (chance.random(d) < 0.2)
    score = counts.sqrt() @ weights + 2.0 * chance.normal(size=TOPICS)[topics]
    score = (score - np.median(score)) / score.std() + 1.5 * corpus.noise * chance.logistic(size=n)
    return counts, np.where(score > 0.0, 1.0, -1.0)


def main() -> None:
    """Print the table."""
    print("| documents × words | half | epochs | with an intercept | algorithms |\n|---|---|---|---|---|")
    for corpus in CORPORA:
        x, y = made(corpus)
        name = f"{corpus.documents} × {corpus.words}"
        half = "tuned" if hashlib.sha256(name.encode()).digest()[-1] & 1 else "judged"
        fits = [mpiopt.fit(x, y, intercept=intercept) for intercept in (False, True)]
        if not all(fit.certified for fit in fits):
            raise SystemExit(f"{name}: not certified")
        used = [event.text.split(":")[0] for event in fits[1].events if event.kind == "algorithm"]
        epochs = " | ".join(f"{fit.history[-1].epoch:.0f}" for fit in fits)
        print(f"| {name} | {half} | {epochs} | {', '.join(used)} |", flush=True)


if __name__ == "__main__":
    main()
