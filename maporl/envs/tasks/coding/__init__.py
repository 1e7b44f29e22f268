"""Coding: teams that write functions, whose asserts are run in a sandbox."""

from maporl.envs.tasks.coding.extraction import Code, code_of
from maporl.envs.tasks.coding.feedback import Detailed, PassedCount, PassedOrNot, TestFeedback
from maporl.envs.tasks.coding.programs import Runner
from maporl.envs.tasks.coding.scoring import PartsTests, PassedTests
from maporl.envs.tasks.coding.task import PARTS, PIPELINE, CodingTask

__all__ = [
    "PARTS",
    "PIPELINE",
    "Code",
    "CodingTask",
    "Detailed",
    "PartsTests",
    "PassedCount",
    "PassedOrNot",
    "PassedTests",
    "Runner",
    "TestFeedback",
    "code_of",
]
