"""The words of the project: frozen values that every layer speaks.

Nothing here does anything: rules live in `core`, effects in `adapters` and `service`. Paths are relative to the
service's root folder, with `/` as separator; names that are not UTF-8 carry lone surrogates (PEP 383).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from rodin_watchd.errors import Problem

OptionValue: TypeAlias = str | int | float
"""A value of one API option, as it is sent: text parts of the multipart body (API contract, Generate Texture)."""

MODEL_LIMIT_BYTES = 10_000_000
"""The largest model the vendor takes: 10 MB (API contract, Generate Texture)."""


class State(StrEnum):
    """What is durable now. `uploading`, `submitting`, `failing` and `returning` are intents; see `core.machine`."""

    CLAIMED = "claimed"
    STAGED = "staged"
    UPLOADING = "uploading"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    GENERATED = "generated"
    DOWNLOADED = "downloaded"
    PROCESSED = "processed"
    DELIVERED = "delivered"
    ARCHIVED = "archived"
    FAILING = "failing"
    FAILED = "failed"
    HELD = "held"
    RETURNING = "returning"
    RETURNED = "returned"


class Step(StrEnum):
    """What is done to a job next: one function, one outside effect."""

    STAGE = "stage"
    SUBMIT = "submit"
    SPREAD = "spread"
    POLL = "poll"
    DOWNLOAD = "download"
    PROCESS = "process"
    DELIVER = "deliver"
    ARCHIVE = "archive"
    BURY = "bury"
    RETURN = "return"


class Role(StrEnum):
    """What a file is in its set."""

    MODEL = "model"
    IMAGE = "image"
    SIDECAR = "sidecar"
    THEN_IMAGE = "then_image"  # for the job that follows alone
    OTHER_MODEL = "other_model"  # for another job of the same set alone
    OTHER_IMAGE = "other_image"


OTHERS: Mapping[Role, Role] = {Role.MODEL: Role.OTHER_MODEL, Role.IMAGE: Role.OTHER_IMAGE}
"""What a file is for the jobs of its set that are not made of it."""


class Kind(StrEnum):
    """What a directory entry is; only regular files are ever taken."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symbolic link"
    OTHER = "special file"
    UNREADABLE = "name whose file cannot be read"


class Signature(NamedTuple):
    """What `fstat` says of a file's content and identity; equal signatures mean "not touched since"."""

    size: int  # bytes
    mtime_ns: int
    ino: int


class Entry(NamedTuple):
    """One directory entry of a snapshot of the inbox."""

    path: str  # relative to the inbox, with "/"
    kind: Kind
    signature: Signature
    ctime_ns: int
    links: int  # hard links


@dataclass(frozen=True, slots=True)
class InputFile:
    """A member of a claimed set: where it lay, what it was, and whether other sets still need it there."""

    role: Role
    source: str  # relative to the root
    signature: Signature
    shared: bool = False  # copied: another set names it too, or the service may not move it
    sha256: str = ""  # hex; known once staged
    changed: str = ""  # hex: the digest that it has since, if a program has changed it after it was taken
    warnings: tuple[str, ...] = ()  # what of it may make the vendor fail, for people; known once staged

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.source.rpartition("/")[2]


class Original(NamedTuple):
    """A file in the inbox that a job has a copy of, because the service may not move it."""

    path: str  # relative to the inbox
    signature: Signature
    shared: bool  # other sets name it, too


@dataclass(frozen=True, slots=True)
class Task:
    """The vendor's side of a job (API contract, Generate Texture)."""

    uuid: str
    subscription_key: str = field(repr=False)  # a token: a secret in logs
    submitted_at: float = 0.0
    credits: Decimal | None = None  # what the vendor says that it took; None: it did not say


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer, not yet understood."""

    status: int
    body: bytes = field(repr=False)  # may hold the subscription key
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """One file of a result list (API contract, Download Results). The URL's query is a secret."""

    name: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A downloaded or processed result file."""

    name: str
    original_name: str
    size: int  # bytes
    sha256: str  # hex
    unlisted: bool = False  # fetched whole before, and not in the vendor's newest list any more


@dataclass(frozen=True, slots=True)
class Sequel:
    """The job that follows a job whose result is delivered: it is made of a model of that result, and of an image of that set."""

    job_id: str  # given with the first job, so that each receipt can name the other
    kind: str
    image: str  # the name of the input of the first job that goes in
    options: Mapping[str, OptionValue]
    files: tuple[InputFile, ...] = ()  # what it is made of; known when copies of them are in its work folder
    problem: Problem | None = None  # why it is not to be sent


@dataclass(frozen=True, slots=True)
class Batch:
    """Which of the jobs of one set a job is: all of them are dropped, approved, afforded and delivered together."""

    id: str  # of the job that went ahead
    label: str  # which one it is, and the name of its folder
    count: int  # of the jobs
    folder: str = ""  # the name of the folder that their folders are in; "" while the first goes ahead alone


@dataclass(frozen=True, slots=True)
class Variant:
    """A job of a set that makes several; it is begun when the vendor has taken the one that goes ahead."""

    job_id: str
    label: str
    options: Mapping[str, OptionValue]
    takes: tuple[str, ...]  # the names of the set's files that it is made of
    then: Sequel | None = None  # what its result goes on to
    files: tuple[InputFile, ...] = ()  # known when copies of them are in its work folder
    problem: Problem | None = None  # why it is not to be sent


@dataclass(frozen=True, slots=True)
class Job:
    """One set on its way; a row of the journal. Only the daemon's main thread moves it."""

    id: str
    name: str  # of the set, as the artist spells it
    folder: str  # below the inbox, "" for the inbox itself; mirrored in the other folders
    state: State
    files: tuple[InputFile, ...]
    options: Mapping[str, OptionValue]
    created_at: float
    kind: str = "texture"  # what is made of it (`core.kinds`); jobs of versions that knew one kind do not say
    again: bool | str = False  # as its TOML file says it: once more, or a word for it
    consent: str = ""  # what allows to pay for this content once more (`core.dedup`); known once staged
    fingerprint: str = ""
    asked: Mapping[str, OptionValue] | None = None  # the options before plugins changed any; known once staged
    dropped: str = ""  # the fingerprint of what was dropped, whatever plugins made of it; known once staged
    retries: int = 0  # how often a person took the failed job up again
    holds: int = 0  # how often it was held: the number of its newest hold
    attempts: int = 0  # of the step that is next
    not_before: float = 0.0
    deadline: float | None = None  # UTC; what counts is its distance from not_before (`core.machine.later`)
    times: Mapping[str, float] = field(default_factory=dict)  # state -> last reached since it was taken (up), UTC
    task: Task | None = None
    answer: Answer | None = None  # committed before it is parsed
    charges: int = 0  # accepted submits
    spent: Decimal = Decimal(0)  # what they cost in all, credits
    listed: Decimal = Decimal("0.5")  # what that submit costs by the vendor's list, credits
    price: Decimal = Decimal("0.5")  # what the submit that is under way, or was the last, may cost; credits
    account: str = ""  # whose credits that submit spends: its task is known to this account alone; "": not known
    refused: int = 0  # submits that were refused, and are not known to have been free
    results: tuple[ResultFile, ...] = ()  # as they came from the vendor
    processed: tuple[ResultFile, ...] = ()  # as plugins left them; () when none did
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # what plugins say for the receipt, by plugin
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # the set's own settings for plugins
    place: str = ""  # where it was published or buried, relative to the root
    problem: Problem | None = None
    progress: str = ""  # the vendor's last word, for people
    resolved: str = ""  # of a failed job: the id of the one that delivered its set since (`core.failures`)
    flaw: str = ""  # why the task counts as failed although its results are fetched, for people; "" where it does not
    working_at: float = 0.0  # when the vendor last said that it is not done
    then: Sequel | None = None  # what its result goes on to
    follows: str = ""  # the id of the job of whose result it is made
    originals: tuple[Original, ...] = ()  # its files, if they stay in the inbox
    condensed_at: float = 0.0  # when its details were moved to the archive file, UTC; 0: they were not
    batch: Batch | None = None  # if its set makes several jobs
    variants: tuple[Variant, ...] = ()  # of the job that goes ahead: the other ones, until they are begun
    chosen: bool = False  # whether a person has chosen it among the jobs of its set

    @property
    def title(self) -> str:
        """What people call it: the set's name, and which of the set's jobs it is."""
        return f"{self.batch.folder}/{self.batch.label}" if self.batch and self.batch.folder else self.name

    @property
    def since_at(self) -> float:
        """When it came into its state, UTC."""
        return self.times.get(self.state.value, self.created_at)

    @property
    def published(self) -> tuple[ResultFile, ...]:
        """What is, or will be, in the outbox next to the receipt."""
        return self.processed or self.results

    def file(self, role: Role) -> InputFile | None:
        """Return the member with this role, if the set has one."""
        return next((f for f in self.files if f.role is role), None)


# ---- what a step returns --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """The step's effect is durable; `job` is the job with what was learned filled in, its state unchanged."""

    job: Job


@dataclass(frozen=True, slots=True)
class NotYet:
    """The vendor works on; `progress` is a word for people."""

    progress: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Nothing happened that cannot be repeated; with a problem of scope *service* no attempt is used up."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request may have been accepted: never repeated on its own."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Rejected:
    """The set cannot go on; nothing will change that by repeating."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Answered:
    """A submit got a complete answer: to be made durable as it is, then to be understood."""

    answer: Answer


Outcome: TypeAlias = Done | NotYet | Retry | Unknown | Rejected
"""What a step makes of its job."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A decided move: the job as it is to be committed, and the event that records it."""

    job: Job
    action: str  # a stable machine word
    message: str = ""  # for people alone
    code: str = ""  # of the error that it is about, or another stable machine word


@dataclass(frozen=True, slots=True)
class OwedCall:
    """A call of a plugin's hook that is to be made once what it is about is durable."""

    hook: str
    plugin: str
    arguments: Mapping[str, Any]  # JSON values; of the event all but its id and attempt


@dataclass(frozen=True, slots=True)
class HookRun:
    """A row of `hook_runs`: a call of a plugin's hook that was made, or is owed."""

    id: int  # 0: not stored yet
    event_id: str
    job_id: str  # "" when it is no job's
    hook: str
    plugin: str
    outcome: str  # due, done, failed
    arguments: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 0
    not_before: float = 0.0  # UTC
    value: Any = None  # what the hook returned
    told: str = ""  # what went wrong
    output: str = ""  # what the plugin printed
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """A row of a job's history."""

    job_id: str
    at: float
    action: str
    state: State
    message: str  # for people alone
    code: str = ""  # as in `Transition`


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """A row of the service's own history: what began or ended for all sets alike."""

    at: float  # UTC
    kind: str  # a stable machine word
    message: str  # for people alone
    subject: str = ""  # what it is about: a lane, a folder, a plugin, …; a stable machine word
    code: str = ""  # of the error that it is about
