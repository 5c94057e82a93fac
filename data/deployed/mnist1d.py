"""Classify the test sequences of MNIST-1D with the recommended network, in ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd

HERE = Path(__file__).parent
rows = pd.read_csv(HERE.parent / "raw/mnist1d.csv")
numbers = rows.drop(columns=["part", "digit"]).to_numpy().reshape(len(rows), -1, 4)  # [n, steps, features]
train, test = rows["part"] == "train", rows["part"] == "test"
scaled = (numbers - numbers[train].mean(axis=(0, 1))) / numbers[train].std(axis=(0, 1))
session = onnxruntime.InferenceSession(HERE / "mnist1d.onnx", providers=["CPUExecutionProvider"])
digits = session.run(["logits"], {"windows": scaled[test].astype(np.float32)})[0].argmax(axis=1)
print("first digits:", *digits[:20])
print(f"correct: {(digits == rows['digit'][test]).sum()} of {len(digits)}")
