# SPDX-License-Identifier: Apache-2.0
"""Pareto fronts: points that no other beats in quality at no more cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def front(cost: pd.Series, quality: pd.Series, lower_is_better: bool) -> list[Any]:
    """Labels of the points on the front, by rising cost.

    A point is on it when none costs less and is as good, and none costs as little and is better.
    Of equal points the first is taken.

    >>> bits = pd.Series([2, 3, 4, 8], index=["a", "b", "c", "d"])
    >>> front(bits, pd.Series([9.0, 4.0, 4.5, 3.9], index=bits.index), lower_is_better=True)
    ['a', 'b', 'd']
    """
    order = sorted(
        range(len(cost)),
        key=lambda i: (cost.iloc[i], quality.iloc[i] if lower_is_better else -quality.iloc[i]),
    )
    best, found = np.inf, []
    for i in order:
        loss = quality.iloc[i] if lower_is_better else -quality.iloc[i]
        if loss < best:
            best = loss
            found.append(cost.index[i])
    return found


def knee(cost: pd.Series, quality: pd.Series, lower_is_better: bool) -> Any | None:
    """The label of the point of the front farthest below the line from its first to its last.

    Both axes are scaled to the ends of the front (a perplexity by its logarithm, if all are
    positive): the point behind which more cost buys the least. None with fewer than three points.

    >>> bits = pd.Series([2, 3, 4, 8], index=["a", "b", "c", "d"])
    >>> knee(bits, pd.Series([9.0, 4.0, 4.5, 3.9], index=bits.index), lower_is_better=True)
    'b'
    """
    on = front(cost, quality, lower_is_better)
    if len(on) < 3:
        return None
    x = cost.loc[on].to_numpy(float)
    y = quality.loc[on].to_numpy(float) * (1 if lower_is_better else -1)
    if lower_is_better and (y > 0).all():
        y = np.log(y)
    x = (x - x[0]) / (x[-1] - x[0])
    y = (y - y[-1]) / (y[0] - y[-1])
    return on[int(np.argmax(1 - x - y))]
