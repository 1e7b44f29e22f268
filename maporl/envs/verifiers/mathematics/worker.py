"""What a worker process does: it reads and compares mathematical answers by Math-Verify (the client is `workers`).

Run as a script, and imports nothing of maporl so that it starts quickly.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import signal
import sys
from typing import Any

__all__ = ["judge"]

_MEMORY_BYTES = 4 << 30
_LONGEST_ANSWER = 1000  # characters of it that are kept


@functools.lru_cache(maxsize=8192)
def read(answer: str) -> list[Any]:
    """An answer that stands alone, as Math-Verify parses it. It is told to drop no units: to it, 2t is two tonnes."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    plain = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
    )
    return parse(f"${answer}$", [LatexExtractionConfig(normalization_config=plain)], parsing_timeout=None)


@functools.lru_cache(maxsize=8192)
def extract(text: str, match_types: tuple[str, ...]) -> list[Any]:
    """What Math-Verify finds in `text`: the parsed expression, and the string it was parsed from."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    kinds = {"latex": LatexExtractionConfig(), "expr": ExprExtractionConfig()}
    return parse(text, [kinds[name] for name in match_types], parsing_timeout=None)


def _differ(gold: Any, found: Any, precision: int) -> bool:
    """Whether two expressions have different values at some point, which is found out much sooner than that they are not identical.

    Only of what is surely no relation, matrix or word, and holds no sum or the like.
    """
    from sympy import Expr, FiniteSet, Float, Mul, Pow, Set, Symbol, Tuple, UnevaluatedExpr
    from sympy.concrete.expr_with_limits import ExprWithLimits
    from sympy.core.function import AppliedUndef

    both = (gold, found)
    several = [isinstance(one, Tuple | Set) and not (isinstance(one, FiniteSet) and len(one) == 1) for one in both]
    if any(several):
        return any(isinstance(one, Expr) for one in both)  # a pair or interval, and one expression
    if not all(isinstance(one, Expr) and not one.is_Matrix for one in both):
        return False
    if any(isinstance(one, Symbol) or one.has(ExprWithLimits, UnevaluatedExpr, AppliedUndef) for one in both):
        return False
    if any(isinstance(one, Mul) and all(isinstance(factor, Symbol | Pow) for factor in one.args) for one in both):
        return False  # Math-Verify may take it for a word
    if not all(one.free_symbols or one.is_number for one in both):
        return False
    names = sorted({symbol.name for one in both for symbol in one.free_symbols})
    values = {name: Float(0.3 + 0.4 * (n + 1) / (len(names) + 1)) for n, name in enumerate(names)}
    a, b = (complex(one.evalf(15, subs={s: values[s.name] for s in one.free_symbols}, maxn=40)) for one in both)
    return abs(a - b) > 2 * 10.0**-precision + 1e-6 * max(abs(a), abs(b))


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """Compare request["gold"] and request["response"] under the options beside them: two answers that stand alone, or, if there are
    `match_types` to look for, those that Math-Verify finds in the two texts."""
    from math_verify import verify

    look_for = request.get("match_types")
    texts = request["gold"], request["response"]
    gold, found = (read(text) if look_for is None else extract(text, tuple(look_for)) for text in texts)
    text = next((part[:_LONGEST_ANSWER] for part in found if isinstance(part, str)), None)
    if not gold:
        return {"status": "error", "correct": None, "answer": text}
    if not found:
        return {"status": "no_answer", "correct": False, "answer": None}
    with contextlib.suppress(TypeError, ValueError, ArithmeticError, AttributeError):  # there is no such value
        if look_for is None and request["strict"] and _differ(gold[0], found[0], request["precision"]):
            return {"status": "ok", "correct": False, "answer": text}
    correct = verify(
        gold,
        found,
        float_rounding=request["precision"],
        strict=request["strict"],
        allow_set_relation_comp=request["allow_set_relation_comp"],
        timeout_seconds=None,
    )
    return {"status": "ok", "correct": bool(correct), "answer": text}


class _Late(BaseException):
    """Time is up. No Exception, for sympy catches these."""


def _late(*_: Any) -> None:
    raise _Late


def _limit(seconds: float) -> None:
    """Raise `_Late` after so many seconds of processor time; 0 takes that back. Should the parent die, nobody else would end an operation
    that hangs: that is what the second timer is for."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_VIRTUAL, 2 * seconds + 5 if seconds else 0)


def serve() -> None:
    """Answer requests until standard input ends."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a stray print must not become a reply
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, _late)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    except (ImportError, ValueError, OSError):
        pass  # no such limit on this system; the time limit remains

    def send(status: str, correct: bool | None = None, answer: str | None = None) -> None:
        replies.write(json.dumps({"status": status, "correct": correct, "answer": answer}).encode() + b"\n")
        replies.flush()

    try:
        logging.disable()
        read("1")  # compiles the patterns
    except Exception as error:
        return send("error", answer=f"{type(error).__name__}: {error}")
    send("ok")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        reply: dict[str, Any] = {"status": "error"}
        with contextlib.suppress(_Late):  # also when it comes just after the reply is there
            try:
                _limit(request["timeout"])
                reply = judge(request)
            except _Late:
                reply = {"status": "timeout"}
            except Exception:  # MemoryError and RecursionError, too
                reply = {"status": "error"}
            _limit(0)
        send(**reply)


if __name__ == "__main__":
    serve()
