"""The base classes of the estimators: scikit-learn's where it is installed, else the part of them that is used here.

scikit-learn is optional: without it the estimators fit and predict all the same, and only its tools are missing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Self, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.metaestimators import available_if as _available_if
except ImportError:

    class ConvergenceWarning(UserWarning):  # type: ignore[no-redef]
        """A fit has ended without a certificate."""

    class ClassifierMixin:  # type: ignore[no-redef]
        """Stands in the place of scikit-learn's class of this name."""

    class RegressorMixin:  # type: ignore[no-redef]
        """Stands in the place of scikit-learn's class of this name."""

    class BaseEstimator:  # type: ignore[no-redef]
        """Parameters by name, as scikit-learn's class of this name has them."""

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """Return the parameters by name; `deep` is without effect, since no parameter is an estimator."""
            names = list(inspect.signature(type(self).__init__).parameters)[1:]
            return {name: getattr(self, name) for name in names}

        def set_params(self, **params: Any) -> Self:
            """Set parameters by name, and return the estimator; ValueError for a name that is no parameter."""
            known = self.get_params()
            for name, value in params.items():
                if name not in known:
                    raise ValueError(f"{type(self).__name__} has no parameter {name!r}; known: {', '.join(known)}")
                setattr(self, name, value)
            return self

        def __repr__(self) -> str:
            """Return the call that makes an equal estimator."""
            given = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
            return f"{type(self).__name__}({given})"

    def _available_if(check: Callable[[Any], bool]) -> Callable[[Any], Any]:
        return lambda method: _Conditional(method, check)


class _Conditional:
    """A method that an instance has only if a check of the instance passes."""

    def __init__(self, method: Any, check: Callable[[Any], bool]) -> None:
        self.method, self.check = method, check
        self.__doc__ = method.__doc__

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self.method
        if not self.check(owner):
            raise AttributeError(f"{kind.__name__} has no attribute {self.method.__name__!r}")
        return self.method.__get__(owner, kind)


def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Return a decorator for a method that an instance has only if `check(instance)` is true or raises no error."""
    decorator: Callable[[Method], Method] = _available_if(check)
    return decorator


__all__ = ["BaseEstimator", "ClassifierMixin", "ConvergenceWarning", "RegressorMixin", "available_if"]
