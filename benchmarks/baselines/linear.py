"""Least squares: what a regressor is compared with."""

from __future__ import annotations

from zoo.datasets import Dataset


def r2(dataset: Dataset) -> float:
    """Test R² of scikit-learn's LinearRegression on the same split."""
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(dataset.train.x, dataset.train.y)
    return float(model.score(dataset.test.x, dataset.test.y))
