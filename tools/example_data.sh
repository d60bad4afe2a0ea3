#!/usr/bin/env bash
# Print the path of real data for the first run: Fashion-MNIST from Debian, else the digits inside scikit-learn.
fashion=/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz
if [ -e "$fashion" ]; then
    echo "$fashion"
else
    find .venv/ -path '*sklearn/datasets/data/digits.csv.gz' -print -quit
fi
