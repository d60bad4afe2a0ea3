"""Draw the convergence of result files: `python tools/plot_history.py RESULT.h5 … PICTURE.png`."""

import sys
from pathlib import Path

import h5py
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt


def draw(results, picture):
    """Draw the certificate over the epochs, one curve for each result."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for path in results:
        with h5py.File(path, "r") as file:
            history = file["history"][:]
        axes.semilogy(history["epoch"], history["certificate"], "o-", ms=3, label=Path(path).stem)
    axes.set(xlabel="epochs (row gradients over all ranks / N)", ylabel="certificate (relative)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    draw(sys.argv[1:-1], sys.argv[-1])
