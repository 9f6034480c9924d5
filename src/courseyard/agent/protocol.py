"""What the hub asks and the agent answers: one JSON object a line, on a Unix socket.

One request per connection; a start answers with several lines, everything else with one. A line
longer than :data:`LONGEST` ends the connection. Closing it during a start cancels the start.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

from courseyard import errors
from courseyard.backends.base import Exit, ExitReason, Progress, Started
from courseyard.plan.model import ServerPlan, StorageNeed

#: Bytes of one line.
LONGEST = 2 * 1024 * 1024
HANDLE = r"^[a-z0-9][a-z0-9_.-]{0,119}$"
_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"

Handle = Annotated[str, Field(pattern=HANDLE)]
VariableName = Annotated[str, Field(pattern=_NAME)]
VariableValue = Annotated[str, Field(max_length=65536, pattern=r"^[^\x00]*$")]


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Start(Message):
    op: Literal["start"] = "start"
    plan: ServerPlan
    secrets: dict[VariableName, VariableValue] = Field(max_length=500, repr=False)


class Poll(Message):
    op: Literal["poll"] = "poll"
    handle: Handle


class Stop(Message):
    op: Literal["stop"] = "stop"
    handle: Handle
    now: bool = False


class Log(Message):
    op: Literal["log"] = "log"
    handle: Handle
    lines: int = Field(50, ge=1, le=2000)


class EnsureStorage(Message):
    op: Literal["ensure-storage"] = "ensure-storage"
    needs: tuple[StorageNeed, ...] = Field(max_length=1000)


class PamLogin(Message):
    op: Literal["pam-login"] = "pam-login"
    username: str = Field(max_length=256)
    password: SecretStr = Field(max_length=1024)


class Ping(Message):
    op: Literal["ping"] = "ping"


Request = Start | Poll | Stop | Log | EnsureStorage | PamLogin | Ping
_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="op")])


def read_request(line: bytes) -> Request:
    """The request in ``line``.

    Raises:
        pydantic.ValidationError: it is none.
    """
    return _REQUEST.validate_json(line)


class ErrorAnswer(Message):
    kind: Literal["error"] = "error"
    type: str
    message: str
    next_step: str = ""
    detail: str = ""
    id: str = ""


class ProgressAnswer(Message):
    kind: Literal["progress"] = "progress"
    percent: int
    message: str


class StartedAnswer(Message):
    kind: Literal["started"] = "started"
    handle: str
    host: str
    port: int


class ExitAnswer(Message):
    kind: Literal["exit"] = "exit"
    reason: ExitReason
    code: int
    message: str


class DoneAnswer(Message):
    kind: Literal["done"] = "done"
    value: Any = None


Answer = ErrorAnswer | ProgressAnswer | StartedAnswer | ExitAnswer | DoneAnswer
_ANSWER: TypeAdapter[Answer] = TypeAdapter(Annotated[Answer, Field(discriminator="kind")])


def read_answer(line: bytes) -> Answer:
    """The answer in ``line``.

    Raises:
        pydantic.ValidationError: it is none.
    """
    return _ANSWER.validate_json(line)


def answer_of(thing: Progress | Started | Exit) -> Answer:
    match thing:
        case Progress():
            return ProgressAnswer(percent=thing.percent, message=thing.message)
        case Started():
            return StartedAnswer(handle=thing.handle, host=thing.host, port=thing.port)
        case Exit():
            return ExitAnswer(reason=thing.reason, code=thing.code, message=thing.message)


def error_answer(error: errors.CourseyardError) -> ErrorAnswer:
    return ErrorAnswer(
        type=type(error).__name__,
        message=error.message,
        next_step=error.next_step,
        detail=error.detail,
        id=error.id,
    )


def error_of(answer: ErrorAnswer) -> errors.CourseyardError:
    """The error that the agent raised, as the same class here."""
    kind = getattr(errors, answer.type, None)
    if not (isinstance(kind, type) and issubclass(kind, errors.CourseyardError)):
        kind = errors.AgentError
    error = kind(answer.message, answer.next_step, detail=answer.detail)
    error.id = answer.id or error.id
    return error
