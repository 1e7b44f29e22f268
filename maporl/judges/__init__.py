"""Language models as judges: verifiers that ask a model whether an answer is right, or which of two is better."""

from maporl.judges.ballot import Ballot, Reply
from maporl.judges.chat_server import ChatServer
from maporl.judges.judge import Judge, PairwiseJudge, Preference
from maporl.judges.judge_model import JudgeModel
from maporl.judges.local import LocalModel

__all__ = ["Ballot", "ChatServer", "Judge", "JudgeModel", "LocalModel", "PairwiseJudge", "Preference", "Reply"]
