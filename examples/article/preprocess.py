"""Turns the raw abalone table into a training and a validation set for XGBoost (label first, no header)."""

import argparse
import os

import boto3
import pandas as pd

COLUMNS = ["sex", "length", "diameter", "height", "whole", "shucked", "viscera", "shell", "rings"]


def read_raw(uri):
    """Every CSV object below s3://bucket/prefix, as one table."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    s3 = boto3.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", []) if item["Key"].endswith(".csv")]
    if not keys:
        raise SystemExit(f"no .csv object below {uri}")
    return pd.concat(pd.read_csv(s3.get_object(Bucket=bucket, Key=key)["Body"], names=COLUMNS) for key in sorted(keys))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", required=True, help="s3://bucket/prefix of the raw data")
    parser.add_argument("--output", default="/opt/ml/processing")
    args = parser.parse_args()

    raw = read_raw(args.input).dropna()
    table = pd.concat([raw["rings"], pd.get_dummies(raw["sex"], dtype=int), raw.drop(columns=["sex", "rings"])], axis=1)
    table = table.sample(frac=1, random_state=42)
    cut = int(len(table) * 0.8)
    for name, part in (("train", table[:cut]), ("validation", table[cut:])):
        folder = os.path.join(args.output, name)
        os.makedirs(folder, exist_ok=True)
        part.to_csv(os.path.join(folder, f"{name}.csv"), header=False, index=False)
        print(f"{name}: {len(part)} rows, {part.shape[1] - 1} features")


if __name__ == "__main__":
    main()
